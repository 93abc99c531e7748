"""Pictures of what an encoder sees: the first three principal components of its tokens as colours."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from jepa.errors import DataError
from jepa.types import Grid

TAILS = (0.01, 0.99)  # quantiles that become black and full colour; the rest is clipped
GAP_PX = 4
CLIP_GAP_PX = 16
PAGE_PX = 960  # the report's column
COLOURS = 128  # of an animation's palette: half the file, and no difference to see


def pca_maps(tokens: Tensor, grid: Grid) -> Tensor:
    """Colour every token by its first three principal components: (B, N, D) -> uint8 (B, t, h, w, 3).

    The components are fitted on all tokens of all clips together, so one colour means one thing everywhere.
    Raises ValueError when N does not fit ``grid``.
    """
    if tokens.shape[1] != grid.tokens:
        raise ValueError(
            f"{tokens.shape[1]} tokens do not fit a grid of {tuple(grid)}, which has {grid.tokens}"
        )
    flat = tokens.detach().float().cpu().flatten(0, 1)  # (B * N, D)
    flat = flat - flat.mean(dim=0)
    _, axes = torch.linalg.eigh(flat.T @ flat)  # ascending
    axes = axes[:, -3:].flip(1)  # (D, <= 3)
    # An axis and its opposite are equally good: the largest weight is made positive, for repeatable colours.
    signs = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    scores = F.pad(flat @ (axes * signs), (0, max(0, 3 - axes.shape[1])))  # (B * N, 3)
    low, high = torch.quantile(_thinned(scores), torch.tensor(TAILS), dim=0)  # (3,), (3,)
    span = (high - low).clamp_min(1e-6 * flat.abs().max().clamp_min(1e-12))
    shades = ((scores - low) / span).clamp(0, 1)
    colours: Tensor = (255 * shades).round().to(torch.uint8)
    return colours.view(len(tokens), *grid, 3)


def draw_maps(frames: Tensor, maps: Tensor, *, side_px: int = 96) -> Image.Image:
    """Draw clips and their maps: frames uint8 (B, T, H, W, 3), maps uint8 (B, t, h, w, 3) -> a picture.

    Per clip one frame for each time step of the map (the middle one of those that it covers), and below it
    the map, enlarged without smoothing. Short clips stand side by side. ``side_px`` is the height of one
    tile.
    """
    clips, steps = maps.shape[:2]
    middles = [(2 * step + 1) * frames.shape[1] // (2 * steps) for step in range(steps)]
    tile = (round(side_px * frames.shape[3] / frames.shape[2]), side_px)
    clip_px = steps * (tile[0] + GAP_PX) - GAP_PX, 2 * side_px + GAP_PX
    columns = max(1, min(clips, (PAGE_PX + CLIP_GAP_PX) // (clip_px[0] + CLIP_GAP_PX)))
    rows = -(-clips // columns)
    across, down = clip_px[0] + CLIP_GAP_PX, clip_px[1] + CLIP_GAP_PX
    picture = Image.new("RGB", (columns * across - CLIP_GAP_PX, rows * down - CLIP_GAP_PX), "white")
    for clip in range(clips):
        x, y = clip % columns * across, clip // columns * down
        for step, middle in enumerate(middles):
            above = Image.fromarray(_array(frames[clip, middle])).resize(tile, Image.Resampling.LANCZOS)
            below = Image.fromarray(_array(maps[clip, step])).resize(tile, Image.Resampling.NEAREST)
            left = x + step * (tile[0] + GAP_PX)
            picture.paste(above, (left, y))
            picture.paste(below, (left, y + side_px + GAP_PX))
    return picture


def animate_maps(
    frames: Tensor, maps: Tensor, path: str | Path, *, fps: float = 8, side_px: int = 96
) -> Path:
    """Write clips beside their maps as an endless animation; return its path, which ends in .gif or .png (APNG).

    frames uint8 (B, T, H, W, 3), maps uint8 (B, t, h, w, 3) as for `draw_maps`: one row per clip, the frame on the
    left, on the right the map of the step that covers it, enlarged without smoothing. ``fps`` frames pass per
    second. Raises DataError for another ending, and for frames and maps that do not fit together.
    """
    path, count, steps = Path(path), frames.shape[1], maps.shape[1]
    if path.suffix.lower() not in (".gif", ".png"):
        raise DataError(f"{path}: an animation must end in .gif or .png, not in {path.suffix or 'nothing'!r}")
    if len(frames) != len(maps) or len(frames) == 0 or count % steps:
        raise DataError(
            f"{len(frames)} clips of {count} frames do not fit {len(maps)} clips of maps with {steps} steps; give "
            "the same clips, and a number of frames that is a multiple of the steps"
        )
    pages = [_page(frames[:, at], maps[:, at * steps // count], side_px) for at in range(count)]
    # One palette for all frames, or colours would flicker.
    strip = Image.fromarray(np.concatenate([np.asarray(page) for page in pages]))
    palette = strip.quantize(COLOURS)
    first, *rest = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
    return path


def _page(frames: Tensor, maps: Tensor, side_px: int) -> Image.Image:
    """Draw one moment: frames (B, H, W, 3), maps (B, h, w, 3) -> a row per clip."""
    wide = round(side_px * frames.shape[2] / frames.shape[1])
    page = Image.new("RGB", (2 * wide + GAP_PX, len(frames) * (side_px + GAP_PX) - GAP_PX), "white")
    for clip in range(len(frames)):
        top = clip * (side_px + GAP_PX)
        left = Image.fromarray(_array(frames[clip])).resize((wide, side_px), Image.Resampling.LANCZOS)
        right = Image.fromarray(_array(maps[clip])).resize((wide, side_px), Image.Resampling.NEAREST)
        page.paste(left, (0, top))
        page.paste(right, (wide + GAP_PX, top))
    return page


def _array(image: Tensor) -> np.ndarray:
    """Return (H, W, 3) uint8 as the array that Pillow reads."""
    return np.ascontiguousarray(image.cpu().numpy())


def _thinned(rows: Tensor, most: int = 100_000) -> Tensor:
    """Keep at most about ``most`` rows, evenly spaced: torch.quantile refuses large inputs."""
    return rows[:: max(1, len(rows) // most)]
