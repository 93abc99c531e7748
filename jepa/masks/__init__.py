"""Which tokens are context, which are targets.

Adding a mask: a config class in ``jepa.config.method``, a function (config, grid, batch, generator) -> Masks
per target set, and a line in ``MASKS``.
"""

from collections.abc import Callable
from typing import Any

import torch

from jepa.config.method import MasksConfig
from jepa.masks.blocks import image_blocks, multiblock
from jepa.masks.simple import causal, random, tube
from jepa.types import Grid, Masks

MASKS: dict[str, Callable[[Any, Grid, int, torch.Generator], tuple[Masks, ...]]] = {
    "multiblock": multiblock,
    "tube": tube,
    "random": random,
    "causal": causal,
    "image_blocks": image_blocks,
}


def sample_masks(
    config: MasksConfig, grid: Grid, batch: int, *, image: bool, generator: torch.Generator
) -> tuple[Masks, ...]:
    """Draw the masks of every pattern that ``config`` gives for this kind of clip, in its order."""
    patterns = config.image if image else config.video
    return tuple(
        masks for pattern in patterns for masks in MASKS[pattern.kind](pattern, grid, batch, generator)
    )


__all__ = ["MASKS", "sample_masks"]
