"""One Meta-World task whose whole state can be read and set."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.envs.base import State
from jepa.envs.simulation import forget_history
from jepa.errors import DataError


class Table:
    """A task: its layout, positions, velocities, and where the hand is pulled to.

    The layout is the package's "random vector". What the package derives from it (where fixed things stand, where the
    target is) is made by its own reset, which simulates the arm for a moment, so a change of layout costs
    milliseconds.
    """

    def __init__(self, mujoco: ModuleType, kind: Any) -> None:
        self._mujoco = mujoco
        self._env = kind(seed=0)
        forget_history(mujoco, self._env.model)
        self._bounds = self._env._random_reset_space
        self._layout = np.full(self._bounds.shape, np.nan)
        sizes = [self._bounds.shape[0], self.model.nq, self.model.nv, 3]
        self.state_size = sum(sizes)
        self._cuts = np.cumsum(sizes)[:-1]

    @property
    def model(self) -> Any:
        """MuJoCo's model."""
        return self._env.model

    @property
    def data(self) -> Any:
        """MuJoCo's data."""
        return self._env.data

    @property
    def state(self) -> State:
        """The whole state, (S,), a copy."""
        return np.concatenate([self._layout, self.data.qpos, self.data.qvel, self.data.mocap_pos[0]])

    def set_state(self, state: State) -> None:
        """Set the whole state, (S,)."""
        layout, positions, velocities, pull = np.split(state, self._cuts)
        if not np.array_equal(layout, self._layout):
            self._reset(layout)
        self.data.qpos[:] = positions
        self.data.qvel[:] = velocities
        self.data.mocap_pos[0] = pull
        self.data.mocap_quat[0] = [1, 0, 1, 0]  # always so, after the package's first action
        self._settle()

    def step(self, action: NDArray[np.float32]) -> None:
        """Move the hand's pull by the first three numbers and close the gripper with the fourth, for one step."""
        self._env.set_xyz_action(action[:3])
        self._env.do_simulation([action[3], -action[3]], n_frames=self._env.frame_skip)
        self._settle()

    def observe(self) -> NDArray[np.float64]:
        """Return the package's observation, (39,), for a state that was just set: there is no last one."""
        now = self._env._get_curr_obs_combined_no_goal()  # (18,)
        space = self._env.sawyer_observation_space
        return np.concatenate([now, now, self._env._get_pos_goal()]).clip(space.low, space.high)

    def is_solved(self) -> bool:
        """Say whether the task's own flag of success is up."""
        _, info = self._env.evaluate_state(self.observe(), np.zeros(4, dtype=np.float32))
        return bool(info["success"])

    def draw_start(self, generator: np.random.Generator) -> State:
        """Go to a new layout and return its start, (S,)."""
        env = self._env
        env.seed(int(generator.integers(2**31)))
        env.seeded_rand_vec, env._freeze_rand_vec = True, False
        env.reset()
        self._reset(env._last_rand_vec.copy())
        self._settle()
        return self.state

    def check_layout(self, state: State) -> None:
        """Raise DataError where the layout of a state, (S,), is none that this task draws."""
        layout = state[: self._cuts[0]]
        if not ((self._bounds.low <= layout) & (layout <= self._bounds.high)).all():
            raise DataError(
                f"layout {layout.tolist()} is none of this task; its numbers lie from {self._bounds.low.tolist()} "
                f"to {self._bounds.high.tolist()}: take them from info['state']"
            )

    def have_one_layout(self, first: State, second: State) -> bool:
        """Say whether two states, (S,), have the same layout."""
        return np.array_equal(first[: self._cuts[0]], second[: self._cuts[0]])

    def _reset(self, layout: NDArray[np.float64]) -> None:
        """Let the package make everything from a layout, always in the same way.

        Raises DataError where the task refuses the layout: it would ask for another one for ever.
        """
        env = self._env
        asked = []

        def answer() -> NDArray[np.float64]:
            asked.append(layout)
            # A reset goes through the task's own twice, and each asks once.
            if len(asked) > 2:
                raise DataError(
                    f"layout {layout.tolist()} is refused by this task: take one from info['state']"
                )
            return layout.copy()

        env._get_state_rand_vec = answer
        try:
            env.reset()
        finally:
            del env._get_state_rand_vec
        self._layout = np.array(layout, dtype=np.float64)

    def _settle(self) -> None:
        """Compute what follows from the state."""
        self._mujoco.mj_forward(self.model, self.data)
