"""Block masks: V-JEPA's space-time blocks and I-JEPA's target and context blocks."""

import math

import torch
from torch import Tensor

from jepa.config.method import ImageBlocksMask, MultiBlockMask
from jepa.masks.counts import complement, cut_raster, cut_uniform, uniform
from jepa.types import Grid, Masks


def block_shape(area: float, aspect: float, height: int, width: int) -> tuple[int, int]:
    """Return the (rows, columns) of a block of ``area`` tokens and ``aspect`` = width / height, inside the frame."""
    rows = round(math.sqrt(area / aspect))
    columns = round(math.sqrt(area * aspect))
    return min(max(rows, 1), height), min(max(columns, 1), width)


def place_block(frame: Tensor, rows: int, columns: int, generator: torch.Generator) -> None:
    """Set a block of ``frame``, (height, width) bool, to True at a uniformly drawn place."""
    height, width = frame.shape
    top = int(torch.randint(height - rows + 1, (), generator=generator))
    left = int(torch.randint(width - columns + 1, (), generator=generator))
    frame[top : top + rows, left : left + columns] = True


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
    if rows == grid.height and columns == grid.width:
        rows, columns = (
            max(1, rows - 1),
            max(1, columns - 1),
        )  # a block as large as the frame leaves no context
    hidden = torch.zeros(batch, grid.height, grid.width, dtype=torch.bool)
    for sample in hidden:
        for _ in range(config.blocks):
            before = sample.clone()
            place_block(sample, rows, columns, generator)
            if sample.all():  # keep the last place that is still visible
                sample.copy_(before)
    hidden = hidden.flatten(1).repeat(1, grid.time)  # (B, N)
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
    rows, columns = block_shape(area, uniform(config.target_aspect, generator), grid.height, grid.width)
    targets = torch.zeros(config.targets, batch, grid.height, grid.width, dtype=torch.bool)
    for block in targets.flatten(0, 1):
        place_block(block, rows, columns, generator)
    area = uniform(config.context_scale, generator) * frame
    context_rows, context_columns = block_shape(area, 1.0, grid.height, grid.width)
    visible = torch.zeros(batch, grid.height, grid.width, dtype=torch.bool)
    for block in visible:
        place_block(block, context_rows, context_columns, generator)
    free = visible & ~targets.any(0)
    empty = ~free.flatten(1).any(1)
    free[empty] = ~targets.any(0)[empty]  # on tiny grids the targets may cover the context block
    if not free.flatten(1).any(1).all():
        raise ValueError(
            f"{config.targets} target blocks of {rows} x {columns} cover the whole {tuple(grid)} grid"
        )
    context = cut_uniform(free.flatten(1), generator)
    return tuple(Masks(context=context, target=complement(~target.flatten(1))) for target in targets)
