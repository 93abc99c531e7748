"""LeJEPA on masked video tokens: prediction + SIGReg, no EMA and no stop-gradient (arXiv:2511.08544)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.models.encoder import Encoder, take
from jepa.models.predictor import Predictor
from jepa.objectives.base import Objective, spread
from jepa.runtime.distributed import mean_over_ranks, world_size
from jepa.types import Batch

KNOTS = 9  # on [0, 5]; the integrand is even, so these are the paper's 17 knots on [-5, 5]


def sigreg(features: Tensor, projections: int) -> Tensor:
    """Return how far ``features`` are from a standard normal, averaged over groups and directions.

    ``features`` is (n, ..., D): n samples of any number of groups, each group tested alone. Every random unit
    direction gives an Epps-Pulley statistic: n times the squared distance between the empirical and the
    normal characteristic function, weighted by exp(-t^2 / 2) (LeJEPA, section 4). Processes that train together
    share the empirical function, so that it is that of all their samples.
    """
    samples = len(features) * world_size()
    direction = F.normalize(torch.randn(features.shape[-1], projections, device=features.device), dim=0)
    t = torch.linspace(0, 5, KNOTS, device=features.device)
    normal = torch.exp(-t.square() / 2)
    angle = (features.float() @ direction).unsqueeze(-1) * t  # (n, ..., projections, KNOTS)
    cosine, sine = mean_over_ranks(torch.stack((angle.cos().mean(0), angle.sin().mean(0))))
    error = (cosine - normal).square() + sine.square()
    return 2 * samples * torch.trapezoid(error * normal, t).mean()


class LeJEPA(Objective):
    """Masked latent prediction towards the encoder's own features, kept from collapsing by SIGReg."""

    def __init__(
        self, encoder: Encoder, predictor: Predictor, *, sigreg_weight: float, projections: int
    ) -> None:
        """``sigreg_weight`` is LeJEPA's lambda in [0, 1], ``projections`` the random directions per step."""
        super().__init__(encoder, predictor)
        self.sigreg_weight, self.projections = sigreg_weight, projections

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return losses and health signals of one batch; only ``loss`` carries a gradient."""
        grid = self.encoder.grid(batch.clip.shape)
        targets = self.targets(batch.clip)  # (B, N, D), with gradient
        losses, spreads = [], []
        for pattern, masks in enumerate(batch.masks):
            context = self.encoder(batch.clip, keep=masks.context)  # (B, K, D)
            predicted = self.predictor(context, masks, grid, pattern)  # (B, M, D)
            losses.append(F.mse_loss(predicted, take(targets, masks.target)))
            spreads.append(spread(predicted))
        prediction, regularity = torch.stack(losses).mean(), sigreg(targets, self.projections)
        return {
            "loss": (1 - self.sigreg_weight) * prediction + self.sigreg_weight * regularity,
            "prediction_loss": prediction.detach(),
            "sigreg": regularity.detach(),
            "target_std": spread(targets),
            "prediction_std": torch.stack(spreads).mean(),
        }
