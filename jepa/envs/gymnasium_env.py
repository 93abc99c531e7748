"""Any environment that is registered with gymnasium and whose state can be set."""

import os
from typing import Any, Self

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Picture

from jepa.config.envs import GymEnv
from jepa.envs.base import GoalEnv, Image, State
from jepa.envs.rendering import Camera, choose_graphics, load_mujoco
from jepa.envs.simulation import forget_history
from jepa.errors import DataError, RunError

MAX_STEPS = 1000
"""Of an episode, where the environment was registered without a limit."""
GOAL_STEPS = 25
"""Random actions between a start and its goal: stable-worldmodel's distance between the two."""
TOLERANCE = 0.1
"""Largest distance from the goal that counts as reached, in the units of the state."""


class RegisteredEnv(GoalEnv):
    """An environment by its gymnasium id, such as Pendulum-v1; its `render()`, resized, gives the images.

    gymnasium's MuJoCo environments are drawn by our own `Camera`, from their camera "track" or where they have none
    from where `render()` looks at the start: their `render()` mixes up two environments in one process.

    State: the simulator's own numbers. They are positions and velocities where it is one of gymnasium's MuJoCo
    environments, and else its attribute `state`, as classic control has it. One that has neither is refused: it has no
    goals, and can only be recorded (`WatchedEnv`).
    Actions are the environment's, continuous or discrete. Its reward and its end of an episode are not used: an
    episode ends after the registered number of steps. Proprioception: the state.

    A goal is the state after `GOAL_STEPS` random actions from the start. Distance: Euclidean, in the state, whatever
    its numbers mean. Success: a distance of at most `TOLERANCE`.
    """

    def __init__(self, config: GymEnv) -> None:
        self.config = config
        made = make(config.name)
        self._inner = made.unwrapped
        self._scratch = make(config.name).unwrapped  # for pictures and goals
        for env in (self._inner, self._scratch):
            env.reset(seed=0)
            prepare(env, config.name)
        self._camera = aim(self._scratch, config.size) if is_mujoco(self._scratch) else None
        state_size = len(read_state(self._inner))
        super().__init__(
            size=config.size,
            state_size=state_size,
            proprio_space=spaces.Box(-np.inf, np.inf, (state_size,), np.float32),
            action_space=self._inner.action_space,
            max_episode_steps=registered_steps(made),
        )
        self.metadata = self._inner.metadata | {"render_modes": ["rgb_array"]}
        self.draw(read_state(self._inner))  # what drawing lacks is said now

    @property
    def state(self) -> State:
        """The simulator's numbers, (S,), a copy."""
        return read_state(self._inner)

    def _set_state(self, state: State) -> None:
        write_state(self._inner, state)

    def draw(self, state: ArrayLike) -> Image:
        """Draw a state, (S,) -> (size, size, 3); a picture that is not square is squeezed.

        Raises RunError where the environment lacks a package for drawing.
        """
        write_state(self._scratch, self.check_state(state))
        if self._camera is not None:
            return self._camera.draw(self._scratch.data)  # type: ignore[attr-defined]  # MuJoCo's, as it has a camera
        try:
            picture: Any = self._scratch.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise RunError(f"{self.config.name} cannot be drawn: {error}") from error
        return squeeze(picture, self.size)

    def distance(self, state: ArrayLike, goal: ArrayLike) -> float:
        """Return the Euclidean distance of two states."""
        return float(self.distances(state, goal))

    def distances(self, states: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
        """Return the distances of many states to their goals: (n, S), (n, S) -> (n,)."""
        return np.asarray(np.linalg.norm(np.asarray(states) - np.asarray(goals), axis=-1))

    def is_success(self, state: ArrayLike, goal: ArrayLike) -> bool:
        """Say whether the distance is at most `TOLERANCE`."""
        return self.distance(state, goal) <= TOLERANCE

    def sample_state(self, generator: np.random.Generator, other: State | None = None) -> State:
        """Draw a start as the environment does; or, where ``other`` is given, play from there at random."""
        if other is None:
            self._scratch.reset(seed=int(generator.integers(2**31)))
            return read_state(self._scratch)
        actions = self._scratch.action_space  # the caller's own draws go on undisturbed
        actions.seed(int(generator.integers(2**31)))
        state = other
        for _ in range(GOAL_STEPS):
            write_state(self._scratch, state)
            self._scratch.step(actions.sample())
            state = read_state(self._scratch)
        return state

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Return the state, (S,)."""
        return state.astype(np.float32)

    def advance(self, action: NDArray[Any]) -> None:
        """Take one step; where the environment would have ended, its physics go on."""
        # Setting it anew forgets that an episode ended, and makes the next state depend on this one alone.
        write_state(self._inner, read_state(self._inner))
        self._inner.step(action if action.ndim else action[()])

    def copy(self) -> Self:
        """Build a second environment of the same kind."""
        return type(self)(self.config)

    def close(self) -> None:
        """Free both environments and the copy; it may be called twice."""
        super().close()
        if self._camera is not None:
            self._camera.close()
        self._inner.close()
        self._scratch.close()


def make(
    name: str, *, render_mode: str | None = "rgb_array", steps: int | None = None
) -> gymnasium.Env[Any, Any]:
    """Build a registered environment, whose episodes last ``steps``, by default as long as it was registered for.

    Raises DataError where its id is unknown, and RunError where a package is missing.
    """
    choose_graphics()
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it would greet in the midst of our own output
    drawn = {} if render_mode is None else {"render_mode": render_mode}  # not every environment takes one
    try:
        return gymnasium.make(name, max_episode_steps=steps, disable_env_checker=True, **drawn)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise RunError(f"{name} cannot be made: {error}") from error
    except gymnasium.error.Error as error:
        raise DataError(
            f"{name!r} is no environment of gymnasium ({error}); see gymnasium.pprint_registry(), and give one of "
            "another package with the module that registers it, such as ale_py:ALE/Pong-v5"
        ) from error


def registered_steps(env: gymnasium.Env[Any, Any]) -> int:
    """Return the limit of an episode that an environment was registered with, or else `MAX_STEPS`."""
    return (env.spec and env.spec.max_episode_steps) or MAX_STEPS


def squeeze(picture: NDArray[np.uint8], size: int) -> Image:
    """Resize a picture of any shape to a square: (H, W, 3) -> (size, size, 3)."""
    return np.array(Picture.fromarray(picture).resize((size, size), Picture.Resampling.BILINEAR))


def prepare(env: gymnasium.Env[Any, Any], name: str) -> None:
    """Make an environment's next state and picture depend on its state alone.

    Raises RunError where its state cannot be set, and where its actions are neither a box nor discrete.
    """
    check_actions(env.action_space, name)
    if not has_state(env):
        raise RunError(
            f"{name} cannot be put into a state (it has neither MuJoCo's qpos, qvel and set_state() nor an attribute "
            "`state` of one row of numbers), so it has no goals to plan for; plan between recorded frames: "
            "goals.kind: recorded"
        )
    if is_mujoco(env):
        forget_history(load_mujoco(extra="mujoco"), env.model)  # type: ignore[attr-defined]  # is_mujoco says so


def check_actions(space: spaces.Space[Any], name: str) -> None:
    """Raise RunError where actions are neither a box nor discrete."""
    if not isinstance(space, spaces.Box | spaces.Discrete):
        raise RunError(
            f"the actions of {name} are {space}; only Box and Discrete can be recorded and planned: "
            "choose another environment, or register it with a wrapper"
        )


def can_be_set(name: str) -> bool:
    """Say whether the state of a registered environment can be set, and so be a goal. Raises as `make` does."""
    env = make(name, render_mode=None)
    env.reset(seed=0)
    found = has_state(env.unwrapped)
    env.close()
    return found


def has_state(env: gymnasium.Env[Any, Any]) -> bool:
    """Say whether an environment, which was started, has a state that can be set."""
    return is_mujoco(env) or np.ndim(getattr(env, "state", 0)) == 1


def is_mujoco(env: Any) -> bool:
    """Say whether this is one of gymnasium's MuJoCo environments, and one whose state is positions and velocities."""
    is_one = hasattr(env, "set_state") and hasattr(env, "mujoco_renderer")
    return is_one and env.model.na + env.model.nmocap == 0


def aim(env: Any, size: int) -> Camera:
    """Return a camera that looks at a MuJoCo environment, which was just started."""
    mujoco = load_mujoco(extra="mujoco")
    camera = Camera(mujoco, env.model, size)
    if mujoco.mj_name2id(env.model, mujoco.mjtObj.mjOBJ_CAMERA, "track") >= 0:
        camera.from_fixed("track")
        return camera
    camera.view.lookat[:] = np.median(env.data.geom_xpos, axis=0)
    camera.view.distance = env.model.stat.extent
    for name, value in (env.mujoco_renderer.default_cam_config or {}).items():
        if name == "lookat":
            camera.view.lookat[:] = value
        else:
            setattr(camera.view, name, value)
    return camera


def read_state(env: Any) -> State:
    """Return the simulator's numbers, (S,), a copy."""
    if is_mujoco(env):
        return np.concatenate([env.data.qpos, env.data.qvel])
    return np.array(env.state, dtype=np.float64)


def write_state(env: Any, state: State) -> None:
    """Set the simulator's numbers, (S,)."""
    if is_mujoco(env):
        env.set_state(state[: env.model.nq], state[env.model.nq :])
        return
    env.state = state.copy()
    # What classic control remembers beside its state: that an episode ended, and an action that is drawn.
    for name in ("steps_beyond_terminated", "last_u"):
        if hasattr(env, name):
            setattr(env, name, None)
