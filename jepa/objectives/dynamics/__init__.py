"""What a world model minimises: one file per paper.

Adding an objective: a config class in ``jepa.config.world_model``, a file here whose ``forward(batch)`` returns a
``loss`` and health signals, its class in ``DYNAMICS_OBJECTIVES``, a YAML, a test.
"""

from collections.abc import Callable
from typing import Any

from jepa.config.world_model import WorldModelConfig
from jepa.models.world_model import LatentWorldModel
from jepa.objectives.dynamics.ac import VJEPA2AC
from jepa.objectives.dynamics.base import DynamicsObjective
from jepa.objectives.dynamics.lewm import LeWM
from jepa.objectives.dynamics.pldm import PLDM

__all__ = ["DYNAMICS_OBJECTIVES", "DynamicsObjective", "build_objective"]

DYNAMICS_OBJECTIVES: dict[str, Callable[[LatentWorldModel, Any], DynamicsObjective]] = {
    "ac": VJEPA2AC,
    "lewm": LeWM,
    "pldm": PLDM,
}


def build_objective(config: WorldModelConfig, world_model: LatentWorldModel) -> DynamicsObjective:
    """Build the objective that ``config`` describes around ``world_model``."""
    return DYNAMICS_OBJECTIVES[config.objective.kind](world_model, config.objective)
