"""The narrow predictor: context tokens and the places of the targets in, target features out."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.config.method import PredictorConfig
from jepa.models.blocks import NORM_EPS, Blocks, init_weights
from jepa.models.linear import Linear
from jepa.models.positions import Positions
from jepa.types import Grid, Masks


class Predictor(nn.Module):
    """Narrow ViT that fills in features of hidden tokens (V-JEPA, section 3.1; I-JEPA, section 3)."""

    def __init__(
        self,
        config: PredictorConfig,
        *,
        dim: int,
        patterns: int,
        positions: Positions | None = None,
        modalities: Collection[str] = (),
    ) -> None:
        """Build for encoder width ``dim`` and ``patterns`` mask patterns, each with a mask token of its own.

        ``modalities``, of "video" and "image", get a token each that is added to all tokens of such clips.
        """
        super().__init__()
        self.heads, self.positions = config.heads, positions or Positions()
        self.levels, self.taken = config.levels, config.levels * dim
        self.given = config.out or self.taken
        # Several levels are mixed to one width before they are narrowed (V-JEPA 2.1, released code).
        self.mix = Linear(self.taken, dim) if self.levels > 1 else None
        self.embed = Linear(dim, config.width)
        self.mask_tokens = nn.Parameter(torch.zeros(patterns, config.width))
        self.video_token = nn.Parameter(torch.zeros(config.width)) if "video" in modalities else None
        self.image_token = nn.Parameter(torch.zeros(config.width)) if "image" in modalities else None
        self.blocks = Blocks(config.width, config.depth, config.heads)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.proj = Linear(config.width, self.given)
        self.proj_context = Linear(config.width, self.given) if config.context_head else None
        init_weights(self)

    def forward(
        self, context: Tensor, masks: Masks, grid: Grid, pattern: int = 0, *, image: bool = False
    ) -> Tensor:
        """Predict the targets: (B, K, D) tokens at ``masks.context`` -> (B, M, D) at ``masks.target``.

        With several levels, they lie side by side in context and targets, as `Encoder.encode_levels` gives them.
        ``image`` says that the clip is one, which matters where the predictor has modality tokens.
        Raises ValueError where the context is of another width.
        """
        tokens = self._tokens(context, masks, grid, pattern, image)  # (B, K + M, P)
        return self.proj(self.norm(tokens[:, context.shape[1] :]))

    def predict_both(
        self, context: Tensor, masks: Masks, grid: Grid, pattern: int = 0, *, image: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Predict the targets as `forward` does, (B, M, D), and the context tokens themselves, (B, K, D).

        The second is for predictors with a context head (V-JEPA 2.1). Raises ValueError for others.
        """
        if self.proj_context is None:
            raise ValueError("this predictor has no context head: predictor.context_head is false")
        tokens = self.norm(self._tokens(context, masks, grid, pattern, image))
        count = context.shape[1]
        return self.proj(tokens[:, count:]), self.proj_context(tokens[:, :count])

    def _tokens(self, context: Tensor, masks: Masks, grid: Grid, pattern: int, image: bool) -> Tensor:
        """Return context and targets after the last block: (B, K, D) -> (B, K + M, P)."""
        if context.shape[-1] != self.taken:
            raise ValueError(
                f"context must be {self.taken} wide, {self.levels} levels of the encoder side by side, got "
                f"{context.shape[-1]}; see Encoder.encode_levels"
            )
        known = self.embed(context if self.mix is None else F.gelu(self.mix(context)))  # (B, K, P)
        hidden = self.mask_tokens[pattern].to(known.dtype).expand(*masks.target.shape, -1)  # (B, M, P)
        tokens = torch.cat((known, hidden), dim=1)  # (B, K + M, P)
        places = torch.cat((masks.context, masks.target), dim=1)
        table = self.positions.rotary(grid, tokens.shape[-1] // self.heads, tokens.device)
        if (added := self.positions.added(grid, tokens.shape[-1], tokens.device)) is not None:
            tokens = tokens + added.to(tokens.dtype)[places]
        if (modality := self.image_token if image else self.video_token) is not None:
            tokens = tokens + modality.to(tokens.dtype)
        return self.blocks(tokens, table.take(places) if table else None)
