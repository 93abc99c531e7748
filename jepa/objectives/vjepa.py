"""V-JEPA: predict features of hidden space-time blocks from visible ones (arXiv:2404.08471, section 3)."""

import torch
from torch import Tensor

from jepa.models.encoder import Encoder, take
from jepa.models.predictor import Predictor
from jepa.objectives.base import spread
from jepa.objectives.ema import DISTANCES, Distance, EmaObjective
from jepa.types import Batch


def predict_patterns(parts: EmaObjective, batch: Batch, distance: Distance) -> dict[str, Tensor]:
    """Return losses and health signals of one batch, one encoder pass per mask pattern."""
    grid = parts.encoder.grid(batch.clip.shape)
    targets = parts.targets(batch.clip)  # (B, N, D)
    losses, spreads = [], []
    for pattern, masks in enumerate(batch.masks):
        context = parts.encoder(batch.clip, keep=masks.context)  # (B, K, D)
        predicted = parts.predictor(context, masks, grid, pattern)  # (B, M, D)
        losses.append(distance(predicted, take(targets, masks.target)))
        spreads.append(spread(predicted))
    return {
        "loss": torch.stack(losses).mean(),
        "target_std": spread(targets),
        "prediction_std": torch.stack(spreads).mean(),
    }


class VJEPA(EmaObjective):
    """Masked latent prediction on video, towards an EMA target encoder."""

    def __init__(self, encoder: Encoder, predictor: Predictor, *, loss: str = "l1") -> None:
        """``loss`` is a key of ``DISTANCES``; the predictor needs one mask token per pattern."""
        super().__init__(encoder, predictor)
        self.distance = DISTANCES[loss]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return losses and health signals of one batch; only ``loss`` carries a gradient."""
        return predict_patterns(self, batch, self.distance)
