"""The robot arm of Meta-World at any of its tasks, with the end of a solved episode as its goal."""

import warnings
from typing import Self

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepa.config.envs import MetaWorldEnv
from jepa.envs.base import Expert, GoalEnv, Image, Info, Observation, State
from jepa.envs.metaworld_table import Table
from jepa.envs.rendering import Camera, load_mujoco
from jepa.errors import DataError, RunError
from jepa.runtime.extras import need

MAX_STEPS = 500
"""The package's."""
TRIES = 20
"""Layouts that are drawn before the task is given up, where the scripted policy fails."""
CLOSE_UP = "corner2-close"
CLOSE_UP_POSITION = (0.75, 0.075, 0.7)
"""Where many image-based agents put corner2 (Masked World Models, arXiv:2206.14244): the table fills the image."""


class MetaWorld(GoalEnv):
    """A robot arm at a table, moved by its hand (Meta-World v3; arXiv:1910.10897).

    State: the task's own random numbers, which say where things stand; MuJoCo's positions and velocities; where the
    hand is pulled to. The random numbers never change within an episode. Action: displacement of the hand along x, y
    and z, in hundredths of a metre, and the gripper's closing force. A step lasts .0125 seconds. Proprioception:
    the hand's position in metres, and how far the gripper is open, from 0 to 1.

    A goal is the state in which the package's scripted policy first solves the task from the start, with the same
    layout; layouts in which it fails are drawn anew. Marks of targets are hidden. Distance: Euclidean, of the
    positions of the hand and of the task's objects together, in metres. Success: the task's own flag, whatever the
    goal; a state of another layout than the goal's is none.

    Cameras are the package's, turned upright where they hang upside down, and `CLOSE_UP`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}

    def __init__(self, config: MetaWorldEnv) -> None:
        mujoco = load_mujoco(extra="metaworld")
        tasks = need("metaworld.env_dict", extra="metaworld").ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        names = [name.removesuffix("-goal-observable") for name in tasks]
        if config.task not in names:
            raise DataError(f"Meta-World has no task {config.task!r}; it has {', '.join(names)}")
        kind = tasks[f"{config.task}-goal-observable"]
        self._table = Table(mujoco, kind)
        self._scratch = Table(mujoco, kind)  # for pictures and questions about any state
        super().__init__(
            size=config.size,
            state_size=self._table.state_size,
            proprio_space=spaces.Box(-np.inf, np.inf, (4,), np.float32),
            action_space=spaces.Box(-1, 1, (4,), np.float32),
            max_episode_steps=MAX_STEPS,
        )
        self.config = config
        self._policies = need("metaworld.policies", extra="metaworld").ENV_POLICY_MAP
        self._solved: tuple[bytes, State] | None = None  # the last start that was drawn, and its goal
        model = self._scratch.model
        self._camera = Camera(mujoco, model, config.size)
        self._camera.look.sitegroup[:] = 0  # sites are marks
        self._camera.from_fixed(config.camera.removesuffix("-close"))
        if config.camera == CLOSE_UP:
            model.camera("corner2").pos[:] = CLOSE_UP_POSITION
        up = model.cam_mat0[self._camera.view.fixedcamid].reshape(3, 3)[:, 1]  # the image's, in the world
        self._camera.is_upside_down = bool(up[2] < 0)

    @property
    def state(self) -> State:
        """The layout, positions, velocities and where the hand is pulled to, (S,), a copy."""
        return self._table.state

    def check_state(self, state: ArrayLike) -> State:
        """Return ``state`` as float64. Raises DataError also where the layout is none of this task."""
        checked = super().check_state(state)
        self._table.check_layout(checked)
        return checked

    def _set_state(self, state: State) -> None:
        self._table.set_state(state)

    def draw(self, state: ArrayLike) -> Image:
        """Draw a state, (S,) -> (size, size, 3)."""
        self._scratch.set_state(self.check_state(state))
        return self._camera.draw(self._scratch.data)

    def distance(self, state: ArrayLike, goal: ArrayLike) -> float:
        """Return the Euclidean distance of the positions of hand and objects, in metres."""
        return float(np.linalg.norm(self._positions(state) - self._positions(goal)))

    def is_success(self, state: ArrayLike, goal: ArrayLike) -> bool:
        """Say whether the task's own flag is up in ``state``, in the goal's layout."""
        checked = self.check_state(state)
        if not self._table.have_one_layout(checked, self.check_state(goal)):
            return False
        self._scratch.set_state(checked)
        return self._scratch.is_solved()

    def sample_state(self, generator: np.random.Generator, other: State | None = None) -> State:
        """Draw a start, (S,); or, where ``other`` is given, let the scripted policy solve the task from there.

        Raises RunError where the policy fails.
        """
        if other is not None:
            if self._solved is None or self._solved[0] != other.tobytes():
                self._solved = other.tobytes(), self._solve(other)
            return self._solved[1].copy()
        for _ in range(TRIES):
            start = self._scratch.draw_start(generator)
            if self._scratch.is_solved():
                continue
            try:
                self._solved = start.tobytes(), self._solve(start)
            except RunError:
                continue
            return start
        raise RunError(
            f"the scripted policy of {self.config.task} failed in {TRIES} layouts; "
            "give reset() the options state and goal_state"
        )

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Return the hand's position and the gripper's opening, (4,)."""
        self._scratch.set_state(state)
        return self._scratch.observe()[:4].astype(np.float32)

    def advance(self, action: NDArray[np.float32]) -> None:
        """Move for one step."""
        self._table.step(action)

    def copy(self) -> Self:
        """Build a second environment of the same kind."""
        return type(self)(self.config)

    def close(self) -> None:
        """Free the graphics context and the copy; it may be called twice."""
        super().close()
        self._camera.close()

    def expert(self) -> Expert:
        """Return the package's scripted policy of the task."""
        policy = self._policies[self.config.task]()

        def act(observation: Observation, info: Info) -> NDArray[np.float32]:
            self._scratch.set_state(info["state"])
            with warnings.catch_warnings():
                # The package warns that it clips large actions; here they are clipped on purpose.
                warnings.filterwarnings("ignore", "Constant", UserWarning)
                wanted = policy.get_action(self._scratch.observe())
            return np.asarray(wanted, dtype=np.float32).clip(-1, 1)

        return act

    def _positions(self, state: ArrayLike) -> NDArray[np.float64]:
        """Return the positions of hand and objects, (9,), zeros where there is no second object."""
        self._scratch.set_state(self.check_state(state))
        observed = self._scratch.observe()
        return np.concatenate([observed[:3], observed[4:7], observed[11:14]])

    def _solve(self, start: State) -> State:
        """Return the first state in which the scripted policy has solved the task. Raises RunError where it fails."""
        act = self.expert()
        state = start
        for _ in range(MAX_STEPS):
            action = act({}, {"state": state})  # leaves the scratch table in ``state``
            if self._scratch.is_solved():
                return state
            self._scratch.step(action)
            state = self._scratch.state
        raise RunError(
            f"the scripted policy of {self.config.task} did not solve it in {MAX_STEPS} steps from this start; "
            "give another one, or a goal_state"
        )
