"""I-JEPA: predict features of several image blocks from one context block (arXiv:2301.08243, section 3)."""

import torch
from torch import Tensor

from jepa.models.encoder import Encoder, take
from jepa.models.predictor import Predictor
from jepa.objectives.base import spread
from jepa.objectives.ema import DISTANCES, Distance, EmaObjective
from jepa.types import Batch


def predict_blocks(
    parts: EmaObjective, batch: Batch, distance: Distance, mask_token: int
) -> dict[str, Tensor]:
    """Return losses and health signals of one batch: the context is encoded once, each block predicted alone."""
    grid = parts.encoder.grid(batch.clip.shape)
    targets = parts.targets(batch.clip)  # (B, N, D)
    context = parts.encoder(batch.clip, keep=batch.masks[0].context)  # (B, K, D), the same for all blocks
    losses, spreads = [], []
    for block in batch.masks:
        predicted = parts.predictor(context, block, grid, mask_token)  # (B, M, D)
        losses.append(distance(predicted, take(targets, block.target)))
        spreads.append(spread(predicted))
    return {
        "loss": torch.stack(losses).mean(),
        "target_std": spread(targets),
        "prediction_std": torch.stack(spreads).mean(),
    }


class IJEPA(EmaObjective):
    """Block prediction on images, towards an EMA target encoder."""

    def __init__(self, encoder: Encoder, predictor: Predictor, *, loss: str = "smooth_l1") -> None:
        """``loss`` is a key of ``DISTANCES``; all target blocks share the predictor's first mask token."""
        super().__init__(encoder, predictor)
        self.distance = DISTANCES[loss]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return losses and health signals of one batch; only ``loss`` carries a gradient."""
        return predict_blocks(self, batch, self.distance, mask_token=0)
