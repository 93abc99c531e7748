"""Where a token stands: rotary tables and fixed sin-cos embeddings over time, height and width.

Positions are functions of the token grid alone, so any resolution and length works, and they are computed
once per forward pass, not once per block.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from jepa.types import Grid

BASE = 10_000.0


def coordinates(grid: Grid, device: torch.device | None = None) -> Tensor:
    """Return the (N, 3) float time, height and width position of every token, in token order."""
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


class Rotary(NamedTuple):
    """Cosines and sines of one set of tokens, shared by all blocks of a forward pass."""

    cos: Tensor  # (N, d) or (B, K, d); d <= head width, the rest of the head is not rotated
    sin: Tensor

    def take(self, index: Tensor) -> "Rotary":
        """Keep the rows named by ``index``: (B, K) long in [0, N) -> tables of (B, K, d)."""
        return Rotary(self.cos[index], self.sin[index])


def rotary(grid: Grid, head_width: int, device: torch.device | None = None) -> Rotary:
    """Build 3-D rotary tables: the head is split in three, for time, height and width (V-JEPA 2, section 2.1).

    Each third has an even number of channels; what is left over (at most 5 channels) is not rotated.
    """
    return rotary_at(coordinates(grid, device), head_width)


def rotary_at(places: Tensor, head_width: int) -> Rotary:
    """Build rotary tables for tokens at ``places``, (N, axes) float: the head is split evenly over the axes."""
    part = 2 * (head_width // (2 * places.shape[-1]))
    frequency = BASE ** (-torch.arange(0, part, 2, dtype=torch.float32, device=places.device) / part)
    angle = places.unsqueeze(-1) * frequency  # (N, axes, part / 2)
    angle = angle.repeat_interleave(2, dim=-1).flatten(1)  # (N, axes * part), each angle once per pair
    return Rotary(angle.cos(), angle.sin())


def rotate(x: Tensor, table: Rotary) -> Tensor:
    """Rotate neighbouring channel pairs of queries or keys, (B, h, N, head width), by their token's angles."""
    cos, sin = (t.to(x.dtype) if t.ndim == 2 else t.to(x.dtype).unsqueeze(1) for t in table)
    turned, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    pairs = turned.reshape(*turned.shape[:-1], -1, 2)
    across = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return torch.cat((turned * cos + across * sin, rest), dim=-1)


def sincos(grid: Grid, width: int, device: torch.device | None = None) -> Tensor:
    """Return fixed 3-D sin-cos embeddings, (N, width): a third of the channels per axis (V-JEPA, section 3.1)."""
    half = -(-width // 6)
    frequency = BASE ** (-torch.arange(half, dtype=torch.float32, device=device) / half)
    angle = coordinates(grid, device).unsqueeze(-1) * frequency  # (N, 3, half)
    return torch.cat((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :width]
