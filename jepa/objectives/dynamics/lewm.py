"""Next-latent prediction from pixels, kept from collapsing by SIGReg alone (LeWM, arXiv:2603.19312)."""

import torch.nn.functional as F
from torch import Tensor

from jepa.config.world_model import LeWmObjective
from jepa.models.world_model import LatentWorldModel
from jepa.objectives.base import spread
from jepa.objectives.dynamics.base import DynamicsObjective, weighted
from jepa.objectives.dynamics.inverse import InverseDynamics
from jepa.objectives.lejepa import sigreg
from jepa.types import Windows


class LeWM(DynamicsObjective):
    """Squared error to the next latent + weight * SIGReg; encoder and dynamics learn from both, without an EMA.

    SIGReg tests the latents of each time step alone, over the batch: frames of one window are no independent draws.
    The rollout and the inverse dynamics are ours to add, and off by default.
    """

    def __init__(self, world_model: LatentWorldModel, config: LeWmObjective) -> None:
        super().__init__(world_model)
        self.sigreg_weight, self.projections = config.sigreg_weight, config.projections
        self.rollout_steps, self.rollout_weight = config.rollout_steps, config.rollout_weight
        self.inverse_weight = config.inverse_weight
        if config.inverse_weight > 0:
            size = world_model.frames.tokens * world_model.frames.dim
            self.inverse = InverseDynamics(size, world_model.action_size)

    def forward(self, batch: Windows) -> dict[str, Tensor]:
        """Return losses and health signals of one batch; only ``loss`` carries a gradient."""
        z = self.encode(batch)  # (B, T, N, D), with gradient
        predicted = self.predict(z, batch)  # (B, T - 1, N, D)
        terms = {
            "prediction_loss": (1.0, F.mse_loss(predicted, z[:, 1:])),
            "sigreg": (self.sigreg_weight, sigreg(z, self.projections)),
        }
        if self.rollout_steps:
            imagined = self.imagine(z, batch, self.rollout_steps)  # (B, H, N, D)
            error = F.mse_loss(imagined, z[:, 1 : self.rollout_steps + 1])
            terms["rollout_loss"] = (self.rollout_weight, error)
        if self.inverse_weight > 0:
            error = F.mse_loss(self.inverse(z), self.world_model.scaling.actions(batch.actions))
            terms["inverse_loss"] = (self.inverse_weight, error)
        return weighted(terms) | {"target_std": spread(z), "prediction_std": spread(predicted)}
