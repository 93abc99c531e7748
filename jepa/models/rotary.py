"""Rotary tables over time, height and width, and the rotation of queries and keys by them."""

from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.runtime.products import is_plain
from jepa.types import Grid

BASE = 10_000.0

Layout = Literal["paired", "released"]
"""Which angle turns which channel of a head's third, see `rotary_at`."""


class Rotary:
    """Cosines and sines of one set of tokens, shared by all blocks of a forward pass."""

    def __init__(self, cos: Tensor, sin: Tensor, layout: Layout) -> None:
        """Keep the tables: (N, d) for all samples or (B, N, d) for each, d the width of a head, in float32."""
        self.cos, self.sin, self.layout = cos, sin, layout

    def take(self, index: Tensor) -> "Rotary":
        """Keep the rows named by ``index``: (B, K) long in [0, N) -> tables of (B, K, d)."""
        return Rotary(self.cos[index], self.sin[index], self.layout)

    @cached_property
    def turn(self) -> Tensor:
        """What each pair of channels, taken as a complex number, is multiplied with: (..., d / 2)."""
        (c0, c1), (s0, s1) = _pairs(self.cos), _pairs(self.sin)
        return torch.complex((c0 + c1) / 2, (s0 + s1) / 2)

    @cached_property
    def mirror(self) -> Tensor | None:
        """What its conjugate is multiplied with, (..., d / 2); None for rotations, which have none."""
        if self.layout == "paired":
            return None
        (c0, c1), (s0, s1) = _pairs(self.cos), _pairs(self.sin)
        return torch.complex((c0 - c1) / 2, (s1 - s0) / 2)


def coordinates(
    grid: Grid, device: torch.device | None = None, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the (N, 3) time, height and width position of every token, in token order, in ``dtype``."""
    axes = [torch.arange(size, dtype=dtype, device=device) for size in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def rotary(
    grid: Grid, head_width: int, device: torch.device | None = None, *, layout: Layout = "paired"
) -> Rotary:
    """Build 3-D rotary tables: the head is split in three, for time, height and width (V-JEPA 2, section 2.1).

    Each third has an even number of channels; what is left over (at most 5 channels) is not rotated.
    """
    return rotary_at(coordinates(grid, device), head_width, layout=layout)


def rotary_at(places: Tensor, head_width: int, *, layout: Layout = "paired") -> Rotary:
    """Build rotary tables for tokens at ``places``, (N, axes) float: the head is split evenly over the axes.

    ``paired`` turns both channels of a pair by one angle, which is a rotation. ``released`` lays the angles side by
    side twice, so that the two channels of a pair meet different angles: no rotation, and scores then depend on more
    than differences of positions, but the released weights of V-JEPA 2 were trained with it (a note in their code,
    src/models/utils/modules.py, rotate_queries_or_keys, says so).
    """
    part = 2 * (head_width // (2 * places.shape[-1]))
    frequency = BASE ** (-torch.arange(0, part, 2, dtype=torch.float32, device=places.device) / part)
    angle = places.unsqueeze(-1) * frequency  # (N, axes, part / 2)
    angle = angle.repeat_interleave(2, dim=-1) if layout == "paired" else angle.repeat(1, 1, 2)
    angle = F.pad(
        angle.flatten(1), (0, head_width - part * places.shape[-1])
    )  # (N, d); the rest stays as it is
    return Rotary(angle.cos(), angle.sin(), layout)


def rotate(x: Tensor, table: Rotary) -> Tensor:
    """Rotate neighbouring channel pairs of queries and keys, (B, N, ..., d), by their token's angles.

    `rotate_pairs` is what it computes. Where it can, it takes each pair for a complex number, one multiplication
    instead of six passes over the channels.
    """
    exact = x.dtype in (torch.float32, torch.float64) and x.device.type in ("cpu", "cuda")
    if not exact or x.shape[-1] % 2 or not is_plain(x):
        return rotate_pairs(x, table)
    z = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))  # (B, N, ..., d / 2)
    out = z * _aligned(table.turn, z)
    if table.mirror is not None:
        out = out + z.conj() * _aligned(table.mirror, z)
    return torch.view_as_real(out).flatten(-2)


def rotate_pairs(x: Tensor, table: Rotary) -> Tensor:
    """Rotate as written: (x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin), (B, N, ..., d) -> (B, N, ..., d)."""
    turned = x[..., : x.shape[-1] // 2 * 2]
    even, odd = _pairs(turned)
    across = F.pad(torch.stack((-odd, even), dim=-1).flatten(-2), (0, x.shape[-1] % 2))
    return x * _aligned(table.cos, x) + across * _aligned(table.sin, x)


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the even and the odd channels: (..., d) -> (..., d / 2) each, d even."""
    return x[..., ::2], x[..., 1::2]


def _aligned(table: Tensor, x: Tensor) -> Tensor:
    """Give a table of (N, d) or (B, N, d) the dtype and dimensions of ``x``, (B, N, ..., d)."""
    return table.to(x.dtype)[(..., *(None for _ in range(x.ndim - 3)), slice(None))]
