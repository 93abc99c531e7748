"""Episodes to look at: the agent beside its goal, as animations and as videos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jepa.data.drawing import write_mp4
from jepa.programs.episodes import Film

GAP_PX, SIDE_PX, FPS = 4, 128, 15
WHITE = 255


def draw_films(films: Sequence[Film]) -> NDArray[np.uint8]:
    """Put episodes side by side, each above its goal: (T, H, W, 3) and (H, W, 3) each -> (T, H', W', 3) uint8.

    Episodes that end earlier hold their last frame.
    """
    length = max(len(frames) for frames, _ in films)
    columns = []
    for frames, goal in films:
        held = frames[np.minimum(np.arange(length), len(frames) - 1)]  # (T, H, W, 3)
        below = np.broadcast_to(goal, held.shape)
        gap = np.full((length, GAP_PX, held.shape[2], 3), WHITE, np.uint8)
        columns += [np.concatenate([held, gap, below], axis=1)]
    gap = np.full((length, columns[0].shape[1], GAP_PX, 3), WHITE, np.uint8)
    spaced = [part for column in columns for part in (column, gap)][:-1]
    return np.concatenate(spaced, axis=2)


def enlarge(frames: NDArray[np.uint8], side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    """Repeat pixels until a frame is at least ``side_px`` high: (..., H, W, 3)."""
    times = max(1, -(-side_px // frames.shape[-3]))
    return frames.repeat(times, axis=-3).repeat(times, axis=-2)


def write_films(films: Sequence[Film], folder: Path, name: str) -> Path:
    """Write one mp4 per episode, the goal beside it, and one GIF of all; return the GIF's path."""
    folder.mkdir(parents=True, exist_ok=True)
    large = [(enlarge(frames), enlarge(goal)) for frames, goal in films]
    for number, (frames, goal) in enumerate(large):
        gap = np.full((len(frames), frames.shape[1], GAP_PX, 3), WHITE, np.uint8)
        beside = np.concatenate([frames, gap, np.broadcast_to(goal, frames.shape)], axis=2)
        odd = [(0, side % 2) for side in beside.shape[1:3]]  # H.264's colours need even sides
        even = np.pad(beside, [(0, 0), *odd, (0, 0)], constant_values=WHITE)
        write_mp4(folder / f"{name}-{number:02d}.mp4", even, fps=FPS)
    pages = [Image.fromarray(page) for page in draw_films(large)]
    path = folder / f"{name}.gif"
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=1000 // FPS, loop=0)
    return path
