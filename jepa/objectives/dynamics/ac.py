"""Prediction in the space of a frozen encoder, one step and several ahead (V-JEPA 2-AC, DINO-WM)."""

from torch import Tensor

from jepa.config.world_model import AcObjective
from jepa.models.world_model import LatentWorldModel
from jepa.objectives.base import spread
from jepa.objectives.dynamics.base import DynamicsObjective, weighted
from jepa.objectives.ema import DISTANCES
from jepa.types import Windows


class VJEPA2AC(DynamicsObjective):
    """Teacher forcing over the window plus a rollout from its first frame (V-JEPA 2-AC, arXiv:2506.09985, section 3).

    The rollout loss averages over all imagined steps, as the released code does (facebookresearch/vjepa2,
    app/vjepa_droid/train.py); the paper writes the last step alone. DINO-WM (arXiv:2411.04983) is ``loss: l2`` with
    ``rollout_steps: 0``.
    """

    def __init__(self, world_model: LatentWorldModel, config: AcObjective) -> None:
        super().__init__(world_model)
        self.distance = DISTANCES[config.loss]
        self.rollout_steps, self.rollout_weight = config.rollout_steps, config.rollout_weight

    def forward(self, batch: Windows) -> dict[str, Tensor]:
        """Return losses and health signals of one batch; only ``loss`` carries a gradient."""
        z = self.encode(batch).detach()  # (B, T, N, D): targets, which the loss must not move
        predicted = self.predict(z, batch)  # (B, T - 1, N, D)
        terms = {"prediction_loss": (1.0, self.distance(predicted, z[:, 1:]))}
        if self.rollout_steps:
            imagined = self.imagine(z, batch, self.rollout_steps)  # (B, H, N, D)
            seen = z[:, 1 : self.rollout_steps + 1]
            terms["rollout_loss"] = (self.rollout_weight, self.distance(imagined, seen))
        return weighted(terms) | {"target_std": spread(z), "prediction_std": spread(predicted)}
