"""Bool masks to index tensors with equal counts per sample."""

import torch
from torch import Tensor


def uniform(bounds: tuple[float, float], generator: torch.Generator) -> float:
    """Draw a float between ``bounds``."""
    low, high = bounds
    return low + (high - low) * float(torch.rand((), generator=generator))


def complement(hidden: Tensor) -> Tensor:
    """Return the indices of the False entries of (B, N) ``hidden``, ascending; all rows must have equally many."""
    return (~hidden).nonzero()[:, 1].view(len(hidden), -1)


def cut_raster(member: Tensor, _: torch.Generator) -> Tensor:
    """Return the first indices of every row's members, as many as the smallest row has: (B, N) bool -> (B, K)."""
    count = int(member.sum(1).min())
    order = torch.where(member, torch.arange(member.shape[1]), member.shape[1])
    return order.sort(dim=1).values[:, :count]


def cut_uniform(member: Tensor, generator: torch.Generator) -> Tensor:
    """Return equally many members of every row, the surplus dropped at random: (B, N) bool -> (B, K), ascending.

    Every member of a row survives with the same chance, whatever its place in the clip.
    """
    count = int(member.sum(1).min())
    score = torch.rand(member.shape, generator=generator).masked_fill(~member, 2.0)
    return score.argsort(dim=1)[:, :count].sort(dim=1).values
