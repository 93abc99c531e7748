"""Masks without blocks: random tokens, tubes, and a causal cut in time."""

import torch

from jepa.config.method import CausalMask, RandomMask, TubeMask
from jepa.types import Grid, Masks


def _hide(tokens: int, ratio: float) -> int:
    """Return how many of ``tokens`` are hidden at ``ratio``: at least one, and never all."""
    if tokens < 2:
        raise ValueError(f"a mask needs at least 2 tokens to hide one and keep one, the grid gives {tokens}")
    return min(max(round(ratio * tokens), 1), tokens - 1)


def random(config: RandomMask, grid: Grid, batch: int, generator: torch.Generator) -> tuple[Masks, ...]:
    """Hide a fixed number of tokens, each sample its own (MAE, arXiv:2111.06377)."""
    order = torch.rand(batch, grid.tokens, generator=generator).argsort(dim=1)
    hidden = _hide(grid.tokens, config.ratio)
    return (Masks(context=order[:, hidden:].sort(1).values, target=order[:, :hidden].sort(1).values),)


def tube(config: TubeMask, grid: Grid, batch: int, generator: torch.Generator) -> tuple[Masks, ...]:
    """Hide a fixed number of places through all time steps (VideoMAE, arXiv:2203.12602)."""
    places = grid.height * grid.width
    order = torch.rand(batch, places, generator=generator).argsort(dim=1)
    hidden = _hide(places, config.ratio)
    start = torch.arange(grid.time).view(1, -1, 1) * places
    context = (order[:, None, hidden:].sort(2).values + start).flatten(1)
    target = (order[:, None, :hidden].sort(2).values + start).flatten(1)
    return (Masks(context=context, target=target),)


def causal(config: CausalMask, grid: Grid, batch: int, _: torch.Generator) -> tuple[Masks, ...]:
    """Show the first time steps and hide all later ones."""
    steps = grid.time - _hide(grid.time, 1 - config.context)
    index = torch.arange(grid.tokens).expand(batch, -1)
    cut = steps * grid.height * grid.width
    return (Masks(context=index[:, :cut], target=index[:, cut:]),)
