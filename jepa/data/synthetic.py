"""Synthetic videos with known labels and exact masks, to measure what an encoder learned without a data set."""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jepa.data.drawing import SHAPES, TEXTURES, Doubles, Floats, outline, pattern, write_mp4
from jepa.errors import JepaError

APPEARANCES = tuple(f"{shape}-{texture}" for shape in SHAPES for texture in TEXTURES)
"""What the shape of a clip looks like: outline and surface pattern. Any one frame shows it."""

MOTIONS = ("east", "southeast", "south", "southwest", "west", "northwest", "north", "northeast")
"""Where the shape of a clip moves, in steps of 45 degrees on the screen. No one frame shows it."""

PLACES = (
    *("top-left", "top", "top-right"),
    *("left", "centre", "right"),
    *("bottom-left", "bottom", "bottom-right"),
)
"""Where the centre of the shape lies, in thirds of the frame; of the last frame, it is the label `next`."""

LISTS = ("motion", "appearance", "next")
"""Labels of a written set; each has a list of its own."""

SPEED = (0.05, 0.07)  # frame widths per frame
RADIUS = (0.22, 0.27)  # frame widths
PERIOD = 0.8  # of the texture, in radii
WAVES = 4  # of the background, at most, across a frame
BRIGHT, DARK = np.array([[1.0, 0.9, 0.5], [0.45, 0.05, 0.1]], np.float32)  # the two colours of the shape
SKY, SEA = np.array([[0.26, 0.44, 0.6], [0.19, 0.36, 0.5]], np.float32)  # the two colours of the background
SPLIT_SEED_STRIDE = 1_000_003  # keeps the seeds of the test videos apart from those of the training videos


@dataclass(frozen=True)
class SyntheticClip:
    """One rendered clip and its two labels."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3), RGB."""
    appearance: int
    """Index into `APPEARANCES`."""
    motion: int
    """Index into `MOTIONS`."""


def labels(index: int, *, seed: int) -> tuple[int, int]:
    """Return (appearance, motion) of clip `index`.

    Each block of 64 consecutive clips holds every pair of labels once, in an order drawn from the seed: both
    labels are balanced and neither says anything about the other.
    """
    pairs = len(APPEARANCES) * len(MOTIONS)
    block, place = divmod(index, pairs)
    pair = int(np.random.default_rng((seed, 0, block)).permutation(pairs)[place])
    return pair // len(MOTIONS), pair % len(MOTIONS)


def render(index: int, *, seed: int, frames: int, size: int) -> SyntheticClip:
    """Render clip `index`: a textured shape that moves in a straight line over a shimmering background.

    The frame is a torus: what leaves on one side comes back on the other. The shape starts at a place drawn
    uniformly on it, and a uniform place moved by any vector is uniform again, so at every single frame the
    place and the size have the same distribution for all motions: only a comparison of frames tells the
    motion. The speed and the size vary from clip to clip and say nothing about either label. The background
    is drawn anew for each frame: it cannot be predicted, so there is nothing in it to learn.

    `size` is the side of the square frame in pixels. The result depends on the arguments alone.
    """
    body = _body(index, seed=seed, frames=frames, size=size)
    background = _background(body.waves, size=size)  # (T, H, W, 3)
    x, y = body.coordinates(size)
    cover = body.cover(x, y)[..., None]  # (T, H, W, 1)
    texture = TEXTURES[body.appearance % len(TEXTURES)]
    share = pattern(texture, x, y, period=PERIOD * body.radius)[..., None]  # (T, H, W, 1)
    surface = share * BRIGHT + (1 - share) * DARK  # (T, H, W, 3)
    image = background + cover * (surface - background)
    pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)  # (T, H, W, 3)
    return SyntheticClip(frames=pixels, appearance=body.appearance, motion=body.motion)


def shape_mask(index: int, *, seed: int, frames: int, size: int) -> Floats:
    """Return how much of each pixel of clip `index` the shape covers: (T, H, W) in [0, 1].

    It is the very cover that `render` draws with. The arguments must be those of the whole video: a shorter video
    is another one, not the beginning of it.
    """
    body = _body(index, seed=seed, frames=frames, size=size)
    return body.cover(*body.coordinates(size))


def centres(index: int, *, seed: int, frames: int, size: int) -> Doubles:
    """Return x and y of the centre of the shape in each frame: (T, 2), in pixels in [0, size).

    A whole number is the middle of a pixel. The arguments must be those of the whole video.
    """
    wrapped: Doubles = _body(index, seed=seed, frames=frames, size=size).centres % size
    return wrapped


def next_place(index: int, *, seed: int, frames: int, size: int) -> int:
    """Return where the centre of the shape lies in the last frame, an index into `PLACES`.

    Who sees only the first frames must know the place and the motion, and extrapolate.
    """
    x, y = centres(index, seed=seed, frames=frames, size=size)[-1]
    column, row = (
        int((value + 0.5) % size * 3 / size) for value in (x, y)
    )  # pixel i covers i - .5 to i + .5
    return 3 * row + column


@dataclass(frozen=True)
class _Body:
    """Everything that is drawn at random about one clip, before any pixel."""

    appearance: int
    motion: int
    waves: tuple[NDArray[np.int64], NDArray[np.int64], Doubles]
    """Of the background: waves down and across the frame, and phases, each (T, 8, 1)."""
    radius: float
    centres: Doubles
    """(T, 2) x and y in pixels, not wrapped."""

    def coordinates(self, size: int) -> tuple[Floats, Floats]:
        """Return x (T, 1, W) and y (T, H, 1) of every pixel, in pixels from the centre of the shape."""
        offsets = np.arange(size)[None, :, None] - self.centres[:, None, :]  # (T, size, 2)
        wrapped = ((offsets + size / 2) % size - size / 2).astype(np.float32)
        return wrapped[:, None, :, 0], wrapped[:, :, None, 1]

    def cover(self, x: Floats, y: Floats) -> Floats:
        """Return how much of each pixel the shape covers, (T, H, W)."""
        return outline(SHAPES[self.appearance // len(TEXTURES)], x, y, radius=self.radius)


def _body(index: int, *, seed: int, frames: int, size: int) -> _Body:
    """Draw clip `index`."""
    appearance, motion = labels(index, seed=seed)
    rng = np.random.default_rng((seed, 1, index))
    down, across = rng.integers(-WAVES, WAVES + 1, (2, frames, 8, 1))[::-1]
    phases = rng.uniform(0, 2 * np.pi, (frames, 8, 1))
    angle = motion * np.pi / 4
    velocity = rng.uniform(*SPEED) * size * np.array([np.cos(angle), np.sin(angle)])  # y points down
    radius = rng.uniform(*RADIUS) * size
    track = rng.uniform(0, size, 2) + velocity * np.arange(frames)[:, None]  # (T, 2)
    return _Body(appearance, motion, (down, across, phases), radius, track)


def _background(waves: tuple[NDArray[np.int64], NDArray[np.int64], Doubles], *, size: int) -> Floats:
    """Return (T, H, W, 3): two colours mixed by smooth noise that is drawn anew for each frame."""
    grid = 2 * np.pi * np.arange(size) / size
    down, across = waves[0] * grid, waves[1] * grid + waves[2]  # each (T, 8, size)
    # sin(across + down), summed over the 8 waves as a matrix product
    rows = np.concatenate([np.sin(down), np.cos(down)], axis=1).astype(np.float32)  # (T, 16, H)
    columns = np.concatenate([np.cos(across), np.sin(across)], axis=1).astype(np.float32)  # (T, 16, W)
    share = (0.5 + rows.transpose(0, 2, 1) @ columns / 10)[..., None]  # (T, H, W, 1)
    mixed: Floats = share * SKY + (1 - share) * SEA  # (T, H, W, 3)
    return mixed


def write_videos(directory: Path, *, count: int, seed: int, frames: int, size: int, fps: int) -> Path:
    """Write clips 0 to `count` - 1 as H.264 mp4 files and their labels as CSV files; return `motion.csv`.

    `appearance.csv` and `next.csv` lie beside it. Each line of a CSV is `path,label`, in the order of the clips: the
    path is relative to the CSV, the label is a class name.
    """
    if count < 1 or frames < 2 or size < 16 or size % 2:
        raise JepaError(
            f"count={count}, frames={frames}, size={size}: count must be at least 1, frames at least 2, "
            "and size even and at least 16; change the value that is out of range"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        clip = render(index, seed=seed, frames=frames, size=size)
        write_mp4(directory / _file(index), clip.frames, fps=fps)
    for label in LISTS:
        write_list(directory, label, count=count, seed=seed, frames=frames, size=size)
    return directory / "motion.csv"


def write_list(directory: Path, label: str, *, count: int, seed: int, frames: int, size: int) -> Path:
    """Write the list of one label (see `LISTS`) of a set whose videos are there, whole or not at all; return it."""
    rows = (
        (_file(index), _label(index, label, seed=seed, frames=frames, size=size)) for index in range(count)
    )
    part = directory / f".{label}-{os.getpid()}.csv"
    try:
        _write_csv(part, rows)
        return part.replace(directory / f"{label}.csv")
    finally:
        part.unlink(missing_ok=True)


def _label(index: int, label: str, *, seed: int, frames: int, size: int) -> str:
    """Return the class name of clip `index` in the list `label`."""
    if label == "next":
        return PLACES[next_place(index, seed=seed, frames=frames, size=size)]
    appearance, motion = labels(index, seed=seed)
    return MOTIONS[motion] if label == "motion" else APPEARANCES[appearance]


def _file(index: int) -> str:
    """Return the name of the video of clip `index`."""
    return f"{index:06d}.mp4"


def write_dataset(
    directory: Path, *, train: int, test: int, seed: int, frames: int = 16, size: int = 64, fps: int = 8
) -> Path:
    """Write videos to `train/` and `test/`, and beside them `{train,test}-{motion,appearance,next}.csv`.

    Returns `directory`. Test videos are rendered from another seed, so no clip is in both splits.
    """
    for split, count, split_seed in (("train", train, seed), ("test", test, seed + SPLIT_SEED_STRIDE)):
        write_videos(directory / split, count=count, seed=split_seed, frames=frames, size=size, fps=fps)
        for label in LISTS:
            with (directory / split / f"{label}.csv").open(newline="") as file:
                rows = [(f"{split}/{name}", value) for name, value in csv.reader(file)]
            _write_csv(directory / f"{split}-{label}.csv", rows)
    return directory


def _write_csv(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """Write `rows` to `path` and return it."""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path
