"""The plain nouns that every room shares.

Dimension letters, everywhere: B batch, T frames, C channels, H W pixels, N tokens, K context tokens,
M target tokens, D width, h heads.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Grid(NamedTuple):
    """Tokens along time, height and width; token ``(t, y, x)`` has index ``(t * height + y) * width + x``."""

    time: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """The number of tokens, N."""
        return self.time * self.height * self.width


@dataclass(frozen=True, slots=True)
class Masks:
    """Token indices for one mask pattern. Every token of the clip is in at most one of the two."""

    context: Tensor  # (B, K) long: what the encoder sees
    target: Tensor  # (B, M) long: what the predictor must fill in


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch: clips of one shape and the masks drawn for them."""

    clip: Tensor  # (B, C, T, H, W) float, normalised; an image is a clip with T = 1
    masks: tuple[Masks, ...]  # one per mask pattern
    bad: tuple[BadFile, ...] = field(default=())  # files skipped while this batch was put together

    def to(self, device: torch.device | str) -> Self:
        """Copy every tensor to ``device``, without waiting for the copy where the memory is pinned."""
        masks = tuple(
            Masks(m.context.to(device, non_blocking=True), m.target.to(device, non_blocking=True))
            for m in self.masks
        )
        return type(self)(self.clip.to(device, non_blocking=True), masks, self.bad)

    def split(self, parts: int) -> list[Self]:
        """Cut the batch into ``parts`` equal micro-batches, for gradient accumulation."""
        size = len(self.clip) // parts
        rows = [slice(i * size, (i + 1) * size) for i in range(parts)]
        return [
            type(self)(self.clip[r], tuple(Masks(m.context[r], m.target[r]) for m in self.masks), self.bad)
            for r in rows
        ]
