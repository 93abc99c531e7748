"""A MuJoCo model whose next state depends on its state and the controls, and on nothing else."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.envs.base import State


def forget_history(mujoco: ModuleType, model: Any) -> None:
    """Start the solver of contacts and limits from nothing in each step.

    By default it starts from the last step's solution, and the next state depends on how the present one came about.
    """
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_WARMSTART)


class Simulation:
    """Positions and velocities of a model, set exactly and stepped."""

    def __init__(self, mujoco: ModuleType, model: Any) -> None:
        forget_history(mujoco, model)
        self.model = model
        self.data: Any = mujoco.MjData(model)
        self._mujoco = mujoco

    @property
    def state(self) -> State:
        """Positions and velocities, (nq + nv,), a copy."""
        return np.concatenate([self.data.qpos, self.data.qvel])

    def set_state(self, state: State) -> None:
        """Set positions and velocities, (nq + nv,)."""
        self.data.qpos[:] = state[: self.model.nq]
        self.data.qvel[:] = state[self.model.nq :]

    def step(self, control: NDArray[np.float32]) -> None:
        """Advance by one time step of the model."""
        self.data.ctrl[:] = control
        self._mujoco.mj_step(self.model, self.data)
