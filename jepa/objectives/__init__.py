"""What is minimised: one file per paper.

Adding an objective: a config class in ``jepa.config.method``, a file here whose ``forward(batch)`` returns a
``loss`` and health signals, a builder in ``OBJECTIVES``, a YAML, a test.
"""

from collections.abc import Callable
from typing import Any

from jepa.config.schema import PretrainConfig
from jepa.models.build import trained_networks
from jepa.models.encoder import Encoder
from jepa.models.predictor import Predictor
from jepa.objectives.base import Objective
from jepa.objectives.ijepa import IJEPA
from jepa.objectives.joint import Joint
from jepa.objectives.lejepa import LeJEPA
from jepa.objectives.vjepa import VJEPA

__all__ = ["OBJECTIVES", "Objective", "build"]

OBJECTIVES: dict[str, Callable[[Any, Encoder, Predictor], Objective]] = {
    "vjepa": lambda c, encoder, predictor: VJEPA(encoder, predictor, loss=c.loss),
    "ijepa": lambda c, encoder, predictor: IJEPA(encoder, predictor, loss=c.loss),
    "joint": lambda c, encoder, predictor: Joint(
        encoder, predictor, video_loss=c.video_loss, image_loss=c.image_loss
    ),
    "lejepa": lambda c, encoder, predictor: LeJEPA(
        encoder, predictor, sigreg_weight=c.sigreg_weight, projections=c.projections
    ),
}


def build(config: PretrainConfig) -> Objective:
    """Build the objective that ``config`` describes."""
    return OBJECTIVES[config.objective.kind](config.objective, *trained_networks(config))
