"""Action-conditioned dynamics: one file per paper.

Adding one: a config class in ``jepa.config.world_model``, a file here with its builder, a line in ``DYNAMICS``.
"""

from collections.abc import Callable

from jepa.config.world_model import DynamicsConfig
from jepa.models.dynamics.adaln import adaln_dynamics
from jepa.models.dynamics.base import Dynamics, Memory
from jepa.models.dynamics.concat import concat_dynamics
from jepa.models.dynamics.mlp import mlp_dynamics
from jepa.models.dynamics.tokens import token_dynamics
from jepa.types import Grid

__all__ = ["DYNAMICS", "Dynamics", "Memory", "build_dynamics"]

DYNAMICS: dict[str, Callable[..., Dynamics]] = {
    "tokens": token_dynamics,
    "concat": concat_dynamics,
    "adaln": adaln_dynamics,
    "mlp": mlp_dynamics,
}


def build_dynamics(
    config: DynamicsConfig,
    *,
    dim: int,
    grid: Grid,
    action_size: int,
    proprio_size: int = 0,
    normalise: bool = False,
) -> Dynamics:
    """Build the dynamics that ``config`` describes, with fresh weights from torch's global generator.

    A frame has ``grid.tokens`` tokens of ``dim`` numbers; ``action_size`` is that of a model step's action;
    ``normalise`` layer-norms the predictions. Raises ConfigError where the heads are too narrow for positions.
    """
    return DYNAMICS[config.kind](
        config,
        dim=dim,
        grid=grid,
        action_size=action_size,
        proprio_size=proprio_size,
        normalise=normalise,
    )
