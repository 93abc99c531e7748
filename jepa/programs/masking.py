"""The mask sampler of a run, in the form the loader wants it."""

import torch

from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.masks import sample_masks
from jepa.models.encoder import token_grid
from jepa.types import Grid, Masks


def clip_grid(config: PretrainConfig, modality: Modality) -> Grid:
    """Return the token grid of the run's clips of one modality."""
    data, model = config.data, config.model
    frames, tubelet = (data.frames_per_clip, model.tubelet) if modality == "video" else (1, 1)
    return token_grid((1, 3, frames, *data.height_width), patch=model.patch, tubelet=tubelet)


def masks_for(
    config: PretrainConfig, modality: Modality, batch: int, generator: torch.Generator
) -> tuple[Masks, ...]:
    """Draw the masks of a batch of clips of one modality."""
    grid = clip_grid(config, modality)
    return sample_masks(config.masks, grid, batch, image=modality == "image", generator=generator)
