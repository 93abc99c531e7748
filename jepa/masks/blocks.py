"""Block masks: V-JEPA's space-time blocks and I-JEPA's target and context blocks."""

import math

import torch
from torch import Tensor

from jepa.config.method import ImageBlocksMask, MultiBlockMask
from jepa.errors import ConfigError
from jepa.masks.counts import complement, cut_raster, cut_uniform, uniform
from jepa.types import Grid, Masks


def block_shape(area: float, aspect: float, height: int, width: int) -> tuple[int, int]:
    """Return the (rows, columns) of a block of ``area`` tokens and ``aspect`` = width / height, inside the frame."""
    rows = round(math.sqrt(area / aspect))
    columns = round(math.sqrt(area * aspect))
    return min(max(rows, 1), height), min(max(columns, 1), width)


def random_blocks(
    shape: tuple[int, ...], size: tuple[int, int], grid: Grid, generator: torch.Generator
) -> Tensor:
    """Place blocks of ``size`` (rows, columns) uniformly inside the frame: bool (*shape, height, width)."""
    rows, columns = size
    top = torch.randint(grid.height - rows + 1, (*shape, 1), generator=generator)
    left = torch.randint(grid.width - columns + 1, (*shape, 1), generator=generator)
    y, x = torch.arange(grid.height), torch.arange(grid.width)
    down, across = (y >= top) & (y < top + rows), (x >= left) & (x < left + columns)
    return down.unsqueeze(-1) & across.unsqueeze(-2)


def multiblock(
    config: MultiBlockMask, grid: Grid, batch: int, generator: torch.Generator
) -> tuple[Masks, ...]:
    """Hide a union of spatial blocks through the whole clip (V-JEPA, section 3.2 and appendix).

    All blocks of a batch have one shape, drawn anew for every batch, as published. Their union differs
    between samples, so samples are cut to the smallest counts of the batch: by default each loses tokens at
    random; ``truncate: raster`` loses the last ones in time-major order, as the published code does, which
    starves late frames of context.
    """
    area = config.scale * grid.height * grid.width
    rows, columns = block_shape(area, uniform(config.aspect, generator), grid.height, grid.width)
    if (rows, columns) == (grid.height, grid.width):
        rows, columns = (
            max(1, rows - 1),
            max(1, columns - 1),
        )  # a block as large as the frame leaves no context
    blocks = random_blocks((batch, config.blocks), (rows, columns), grid, generator)
    unions = (
        blocks.cumsum(dim=1).bool().flatten(2)
    )  # (B, blocks, height * width): of the first, the first two, ...
    partial = (~unions.all(dim=2)).sum(dim=1) - 1  # the largest union that leaves a place to see
    hidden = unions[torch.arange(batch), partial].repeat(1, grid.time)  # (B, N)
    cut = cut_raster if config.truncate == "raster" else cut_uniform
    return (Masks(context=cut(~hidden, generator), target=cut(hidden, generator)),)


def image_blocks(
    config: ImageBlocksMask, grid: Grid, batch: int, generator: torch.Generator
) -> tuple[Masks, ...]:
    """Draw several target blocks and one context block without them (I-JEPA, section 3).

    One Masks per target block; all share the same ``context`` tensor, so the context is encoded once.
    """
    frame = grid.height * grid.width
    area = uniform(config.target_scale, generator) * frame
    size = block_shape(area, uniform(config.target_aspect, generator), grid.height, grid.width)
    targets = random_blocks((config.targets, batch), size, grid, generator).flatten(2)  # (targets, B, N)
    area = uniform(config.context_scale, generator) * frame
    size_of_context = block_shape(area, 1.0, grid.height, grid.width)
    visible = random_blocks((batch,), size_of_context, grid, generator).flatten(1)  # (B, N)
    left_over = ~targets.any(dim=0)
    free = visible & left_over
    empty = ~free.any(dim=1)
    free[empty] = left_over[empty]  # on tiny grids the targets may cover the context block
    if not free.any(dim=1).all():
        raise ConfigError(
            f"masks.image: {config.targets} target blocks of {size[0]} x {size[1]} cover the whole {tuple(grid)} grid; "
            "lower targets or target_scale, or take smaller patches"
        )
    context = cut_uniform(free, generator)
    return tuple(Masks(context=context, target=complement(~target)) for target in targets)
