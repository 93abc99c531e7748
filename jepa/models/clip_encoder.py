"""What every encoder of clips offers, whoever trained it: tokens, their grid, pooled features, preprocessing."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from jepa.models.pooling import pool_tokens
from jepa.preprocess import RGB, Resolution, preprocess
from jepa.types import Grid


class ClipEncoder(nn.Module):
    """Base of all encoders: a subclass says how a clip becomes tokens, and on which grid they lie."""

    dim: int
    """Width of a token, D."""
    patch: int
    """Pixels along each side of a patch."""
    tubelet: int
    """Frames per token along time."""
    resize_to: int | None = None
    """Pixels that a frame's shorter side is resized to before its centre is cut out, as its weights may expect."""

    def __init__(self, resolution: Resolution, mean: RGB, std: RGB) -> None:
        """Keep the ``resolution`` (pixels), ``mean`` and ``std`` of ``preprocess``."""
        super().__init__()
        self.resolution, self.mean, self.std = resolution, mean, std

    def grid(self, shape: torch.Size | tuple[int, ...]) -> Grid:
        """Return the token grid of a clip of ``shape`` (B, 3, T, H, W); raises ValueError when it does not fit."""
        raise TypeError(f"{type(self).__name__} must define grid(shape)")

    @torch.inference_mode()
    def embed(self, clip: Tensor, pool: str = "mean") -> Tensor:
        """Return one frozen feature per clip: (B, 3, T, H, W) -> (B, D); ``pool`` as in ``jepa.models.pooling``."""
        return pool_tokens(self(clip), self.grid(clip.shape), pool)

    def preprocess(self, frames: Tensor | np.ndarray | Sequence[Tensor | np.ndarray]) -> Tensor:
        """Turn uint8 frames (T, H, W, 3) of any size, or a list of such, into a clip: (B, 3, T, H', W').

        Largest centred part of the clip's aspect, resized to ``resolution`` and normalised: as in the probes. With
        ``resize_to``, whole frames are resized first, and the centre is cut out of them.
        """
        several = frames if isinstance(frames, list | tuple) else [frames]
        clips = [
            preprocess(
                torch.as_tensor(one), self.resolution, mean=self.mean, std=self.std, resize_to=self.resize_to
            )
            for one in several
        ]
        return torch.stack(clips).to(next(self.parameters()).device)
