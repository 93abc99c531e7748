"""Synthetic videos with two independent labels, to measure what an encoder learned without a data set."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jepa.errors import JepaError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SHAPES = ("disc", "square", "cross", "ring")
TEXTURES = ("stripes", "checks")
APPEARANCES = tuple(f"{shape}-{texture}" for shape in SHAPES for texture in TEXTURES)
"""What the shape of a clip looks like: outline and surface pattern. Any one frame shows it."""

MOTIONS = ("east", "southeast", "south", "southwest", "west", "northwest", "north", "northeast")
"""Where the shape of a clip moves, in steps of 45 degrees on the screen. No one frame shows it."""

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
    appearance, motion = labels(index, seed=seed)
    rng = np.random.default_rng((seed, 1, index))
    background = _background(rng, frames=frames, size=size)  # (T, H, W, 3)
    shape, texture = divmod(appearance, len(TEXTURES))
    angle = motion * np.pi / 4
    velocity = rng.uniform(*SPEED) * size * np.array([np.cos(angle), np.sin(angle)])  # y points down
    radius = rng.uniform(*RADIUS) * size
    x, y = _body_coordinates(rng.uniform(0, size, 2), velocity, frames=frames, size=size)
    cover = _outline(SHAPES[shape], x, y, radius=radius)[..., None]  # (T, H, W, 1)
    share = _pattern(TEXTURES[texture], x, y, period=PERIOD * radius)[..., None]  # (T, H, W, 1)
    surface = share * BRIGHT + (1 - share) * DARK  # (T, H, W, 3)
    image = background + cover * (surface - background)
    pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)  # (T, H, W, 3)
    return SyntheticClip(frames=pixels, appearance=appearance, motion=motion)


def _body_coordinates(start: Doubles, velocity: Doubles, *, frames: int, size: int) -> tuple[Floats, Floats]:
    """Return x (T, 1, W) and y (T, H, 1) of every pixel, in pixels from the centre of the shape."""
    times = np.arange(frames)[:, None]
    centres = start + velocity * times  # (T, 2)
    offsets = np.arange(size)[None, :, None] - centres[:, None, :]  # (T, size, 2)
    wrapped = ((offsets + size / 2) % size - size / 2).astype(np.float32)
    return wrapped[:, None, :, 0], wrapped[:, :, None, 1]


def _outline(shape: str, u: Floats, v: Floats, *, radius: float) -> Floats:
    """Return how much of each pixel the shape covers, 0 to 1, with an edge one pixel soft."""
    if shape == "square":
        inside = 0.85 * radius - np.maximum(np.abs(u), np.abs(v))
    elif shape == "cross":
        long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
        inside = np.minimum(1.1 * radius - long, 0.4 * radius - short)
    else:
        distance = np.sqrt(u * u + v * v)
        inside = (
            radius - distance
            if shape == "disc"
            else np.minimum(1.1 * radius - distance, distance - 0.5 * radius)
        )
    covered: Floats = np.clip(inside + 0.5, 0, 1)
    return covered


def _pattern(texture: str, u: Floats, v: Floats, *, period: float) -> Floats:
    """Return the share of the bright colour in each pixel, 0 to 1."""
    wave = np.sin(u * np.float32(2 * np.pi / period))
    if texture == "checks":
        wave = wave * np.sin(v * np.float32(2 * np.pi / period)) * 1.5
    bright: Floats = np.clip(0.5 + wave, 0, 1)
    return bright


def _background(rng: np.random.Generator, *, frames: int, size: int) -> Floats:
    """Return (T, H, W, 3): two colours mixed by smooth noise that is drawn anew for each frame."""
    grid = 2 * np.pi * np.arange(size) / size
    down, across = rng.integers(-WAVES, WAVES + 1, (2, frames, 8, 1))[::-1] * grid  # each (T, 8, size)
    across = across + rng.uniform(0, 2 * np.pi, (frames, 8, 1))
    # sin(across + down), summed over the 8 waves as a matrix product
    rows = np.concatenate([np.sin(down), np.cos(down)], axis=1).astype(np.float32)  # (T, 16, H)
    columns = np.concatenate([np.cos(across), np.sin(across)], axis=1).astype(np.float32)  # (T, 16, W)
    share = (0.5 + rows.transpose(0, 2, 1) @ columns / 10)[..., None]  # (T, H, W, 1)
    mixed: Floats = share * SKY + (1 - share) * SEA  # (T, H, W, 3)
    return mixed


def write_videos(directory: Path, *, count: int, seed: int, frames: int, size: int, fps: int) -> Path:
    """Write clips 0 to `count` - 1 as H.264 mp4 files and their labels as CSV files; return `motion.csv`.

    `appearance.csv` lies beside it. Each line of a CSV is `path,label`: the path is relative to the CSV,
    the label is a class name.
    """
    if count < 1 or frames < 2 or size < 16 or size % 2:
        raise JepaError(
            f"count={count}, frames={frames}, size={size}: count must be at least 1, frames at least 2, "
            "and size even and at least 16; change the value that is out of range"
        )
    directory.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str]] = []
    for index in range(count):
        clip = render(index, seed=seed, frames=frames, size=size)
        name = f"{index:06d}.mp4"
        write_mp4(directory / name, clip.frames, fps=fps)
        rows.append((name, MOTIONS[clip.motion], APPEARANCES[clip.appearance]))
    _write_csv(directory / "appearance.csv", ((name, appearance) for name, _, appearance in rows))
    return _write_csv(directory / "motion.csv", ((name, motion) for name, motion, _ in rows))


def write_dataset(
    directory: Path, *, train: int, test: int, seed: int, frames: int = 16, size: int = 64, fps: int = 8
) -> Path:
    """Write videos to `train/` and `test/`, and beside them `{train,test}-{motion,appearance}.csv`.

    Returns `directory`. Test videos are rendered from another seed, so no clip is in both splits.
    """
    for split, count, split_seed in (("train", train, seed), ("test", test, seed + SPLIT_SEED_STRIDE)):
        write_videos(directory / split, count=count, seed=split_seed, frames=frames, size=size, fps=fps)
        for label in ("motion", "appearance"):
            with (directory / split / f"{label}.csv").open(newline="") as file:
                rows = [(f"{split}/{name}", value) for name, value in csv.reader(file)]
            _write_csv(directory / f"{split}-{label}.csv", rows)
    return directory


def write_mp4(path: Path, frames: NDArray[np.uint8], *, fps: int) -> None:
    """Write (T, H, W, 3) RGB frames as H.264, nearly lossless but for the coarser colours of yuv420p."""
    import av  # only writing needs it

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # A key frame every 8 frames: decoding starts near any clip. One thread: small frames gain nothing.
        stream.options = {"crf": "14", "preset": "ultrafast", "g": "8", "threads": "1"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _write_csv(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """Write `rows` to `path` and return it."""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path
