"""The narrow predictor: context tokens and the places of the targets in, target features out."""

import torch
from torch import Tensor, nn

from jepa.config.method import PredictorConfig
from jepa.models.blocks import NORM_EPS, Blocks, init_weights
from jepa.models.positions import Positions
from jepa.types import Grid, Masks


class Predictor(nn.Module):
    """Narrow ViT that fills in features of hidden tokens (V-JEPA, section 3.1; I-JEPA, section 3)."""

    def __init__(
        self, config: PredictorConfig, *, dim: int, patterns: int, positions: Positions | None = None
    ) -> None:
        """Build for encoder width ``dim`` and ``patterns`` mask patterns, each with a mask token of its own."""
        super().__init__()
        self.heads, self.positions = config.heads, positions or Positions()
        self.embed = nn.Linear(dim, config.width)
        self.mask_tokens = nn.Parameter(torch.zeros(patterns, config.width))
        self.blocks = Blocks(config.width, config.depth, config.heads)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.proj = nn.Linear(config.width, dim)
        init_weights(self)

    def forward(self, context: Tensor, masks: Masks, grid: Grid, pattern: int = 0) -> Tensor:
        """Predict the targets: (B, K, D) tokens at ``masks.context`` -> (B, M, D) at ``masks.target``."""
        known = self.embed(context)  # (B, K, P)
        hidden = self.mask_tokens[pattern].to(known.dtype).expand(*masks.target.shape, -1)  # (B, M, P)
        tokens = torch.cat((known, hidden), dim=1)  # (B, K + M, P)
        places = torch.cat((masks.context, masks.target), dim=1)
        table = self.positions.rotary(grid, tokens.shape[-1] // self.heads, tokens.device)
        if (added := self.positions.added(grid, tokens.shape[-1], tokens.device)) is not None:
            tokens = tokens + added.to(tokens.dtype)[places]
        tokens = self.blocks(tokens, table.take(places) if table else None)
        return self.proj(self.norm(tokens[:, context.shape[1] :]))
