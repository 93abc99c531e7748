"""See what comes next: the tokens of a clip, and behind them those that the predictor expects."""

from typing import Protocol

import torch
from torch import Tensor

from jepa.probes.features import TokenEncoder
from jepa.types import Grid, Masks


class TokenPredictor(Protocol):
    """What is asked of a predictor."""

    def __call__(self, context: Tensor, masks: Masks, grid: Grid, pattern: int = 0, /) -> Tensor:
        """(B, K, D) tokens at ``masks.context`` -> (B, M, D) at ``masks.target``."""
        ...


class Anticipation:
    """An encoder whose tokens go on in time: after those of the clip come those that are predicted to follow it.

    This is what V-JEPA 2 gives to its probe of action anticipation (arXiv:2506.09985, section 6): the encoder's
    tokens and the predictor's, side by side. Positions are rotary or sin-cos, so that the grid may grow in time.
    """

    def __init__(
        self, encoder: TokenEncoder, predictor: TokenPredictor, *, steps: int, pattern: int = 0
    ) -> None:
        """Add ``steps`` time steps; ``pattern`` says with which of its mask tokens the predictor is asked."""
        self.encoder, self.predictor, self.steps, self.pattern = encoder, predictor, steps, pattern

    def grid(self, shape: torch.Size) -> Grid:
        """Return the grid of the clip's tokens and the predicted ones."""
        seen = self.encoder.grid(shape)
        return seen._replace(time=seen.time + self.steps)

    def __call__(self, clip: Tensor) -> Tensor:
        """Encode and look ahead: (B, C, T, H, W) -> (B, (t + steps) * h * w, D)."""
        seen = self.encoder(clip)  # (B, N, D)
        grid = self.grid(clip.shape)
        places = torch.arange(grid.tokens, device=clip.device).expand(len(clip), -1)  # (B, N + M)
        masks = Masks(places[:, : seen.shape[1]], places[:, seen.shape[1] :])
        return torch.cat([seen, self.predictor(seen, masks, grid, self.pattern)], dim=1)
