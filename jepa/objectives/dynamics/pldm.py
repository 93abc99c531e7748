"""Prediction over a rollout, VICReg, inverse dynamics and similarity in time (PLDM, arXiv:2502.14819)."""

import torch.nn.functional as F
from torch import Tensor

from jepa.config.world_model import PldmObjective
from jepa.models.world_model import LatentWorldModel
from jepa.objectives.base import spread
from jepa.objectives.dynamics.base import DynamicsObjective, weighted
from jepa.objectives.dynamics.inverse import InverseDynamics
from jepa.objectives.dynamics.vicreg import covariance_loss, variance_loss
from jepa.types import Windows


class PLDM(DynamicsObjective):
    """L_sim + alpha L_var + beta L_cov + delta L_time-sim + omega L_IDM (PLDM, section 3, equation 3).

    L_sim compares a rollout from the first frame with what was seen; with ``rollout_steps: 0`` it is teacher forcing.
    Squared errors are averaged over channels and steps, as in the released code; the paper writes sums. Variance and
    covariance are the paper's, over every frame of the window (the released code takes the first alone).
    """

    def __init__(self, world_model: LatentWorldModel, config: PldmObjective) -> None:
        super().__init__(world_model)
        self.weights = config
        if config.inverse_weight > 0:
            size = world_model.frames.tokens * world_model.frames.dim
            self.inverse = InverseDynamics(size, world_model.action_size)

    def forward(self, batch: Windows) -> dict[str, Tensor]:
        """Return losses and health signals of one batch; only ``loss`` carries a gradient."""
        weights, z = self.weights, self.encode(batch)  # (B, T, N, D), with gradient
        if weights.rollout_steps:
            name, weight = "rollout_loss", weights.rollout_weight
            predicted = self.imagine(z, batch, weights.rollout_steps)  # (B, H, N, D)
        else:
            name, weight = "prediction_loss", 1.0
            predicted = self.predict(z, batch)  # (B, T - 1, N, D)
        terms = {
            name: (weight, F.mse_loss(predicted, z[:, 1 : predicted.shape[1] + 1])),
            "variance_loss": (weights.variance_weight, variance_loss(z.flatten(2))),
            "covariance_loss": (weights.covariance_weight, covariance_loss(z.flatten(2))),
            "time_loss": (weights.time_weight, F.mse_loss(z[:, 1:], z[:, :-1])),
        }
        if weights.inverse_weight > 0:
            error = F.mse_loss(self.inverse(z), self.world_model.scaling.actions(batch.actions))
            terms["inverse_loss"] = (weights.inverse_weight, error)
        return weighted(terms) | {"target_std": spread(z), "prediction_std": spread(predicted)}
