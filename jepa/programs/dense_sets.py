"""Tokens of synthetic videos beside the exact class of every pixel, cut and resized alike."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.config.data import ReadConfig, SyntheticSource
from jepa.data.augment import shrink
from jepa.data.evaluation import labelled_clips
from jepa.data.generated import FPS
from jepa.data.sources import open_source
from jepa.data.synthetic import labels, shape_mask
from jepa.errors import DataError
from jepa.models.clip_encoder import ClipEncoder
from jepa.preprocess import centre_pixels
from jepa.probes.dense import DenseSet, into_cubes
from jepa.types import Grid

RAW_PATCHES, PATCH_COLOUR = "raw patches", "mean colours"


@torch.inference_mode()
def dense_sets(
    encoders: Mapping[str, ClipEncoder],
    source: SyntheticSource,
    read: ReadConfig,
    *,
    videos: int,
    device: torch.device | str = "cpu",
) -> dict[str, DenseSet]:
    """Return tokens and exact classes of the centre clips of the first ``videos`` videos, one set per encoder.

    Beside them the pixels under each token, flattened, and their mean colour, on the grid of the first encoder. All
    tokens are held in memory. Class 0 is the background, class 1 + a the appearance a.
    """
    opened = open_source(source)
    tokens: dict[str, list[Tensor]] = {}
    grids: dict[str, Grid] = {}
    pixels, groups = [], []
    for batch in labelled_clips(opened, read, entries=range(min(videos, len(opened.entries)))):
        if len(batch.clip) == 0:
            continue
        for name, (grid, values) in _read_tokens(encoders, batch.clip.to(device)).items():
            tokens.setdefault(name, []).append(values.float().cpu())
            grids[name] = grid
        for entry, times in zip(batch.entries.tolist(), batch.times, strict=True):
            frames = (times * FPS).round().long().numpy()
            pixels.append(clip_classes(entry, source, read, frames=frames))
            groups.append(opened.entries[entry].path)
    if not pixels:
        raise DataError(f"{source.path}: no video could be read; look at the files, or remove the folder")
    classes = torch.stack(pixels)
    return {
        name: DenseSet(torch.cat(values), classes, grids[name], tuple(groups))
        for name, values in tokens.items()
    }


class _Tokens(NamedTuple):
    """Tokens of a batch, and where they lie."""

    grid: Grid
    values: Tensor  # (B, N, D)


def _read_tokens(encoders: Mapping[str, ClipEncoder], clip: Tensor) -> dict[str, _Tokens]:
    """Return the tokens of every row for one batch, (B, C, T, H, W)."""
    found = {name: _Tokens(encoder.grid(clip.shape), encoder(clip)) for name, encoder in encoders.items()}
    grid = next(iter(found.values())).grid
    raw = raw_patches(clip, grid)
    return found | {
        RAW_PATCHES: _Tokens(grid, raw.flatten(2)),
        PATCH_COLOUR: _Tokens(grid, raw.mean(dim=3)),
    }


def raw_patches(clip: Tensor, grid: Grid) -> Tensor:
    """Return the normalised pixels under each token: (B, C, T, H, W) -> (B, N, C, pixels of a token)."""
    return torch.stack([into_cubes(channel, grid) for channel in clip.unbind(dim=1)], dim=2)


def clip_classes(
    entry: int, source: SyntheticSource, read: ReadConfig, *, frames: NDArray[np.int64]
) -> Tensor:
    """Return the class of every pixel of a clip: (T, *resolution) long, 0 or 1 + appearance.

    ``frames`` (T,) are the frames of video ``entry`` that the clip holds. The cover takes the same way from frame to
    clip as the pixels do; half a pixel or more is the shape's.
    """
    cover = shape_mask(entry, seed=source.seed, frames=source.frames, size=source.size_px)[frames]
    grey = torch.from_numpy(cover).mul(255).round().to(torch.uint8)[..., None].expand(-1, -1, -1, 3)
    clip = centre_pixels(shrink(grey.contiguous(), read.short_side), read.resolution)[:, 0]  # (T, H, W)
    appearance, _ = labels(entry, seed=source.seed)
    return (clip > 127).long() * (1 + appearance)
