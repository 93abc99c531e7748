"""Look through a source before training on it: counts, rates, sizes, bad files, and a sheet of its frames."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from jepa.data.augment import shrink
from jepa.data.decode import Decoder, bounded, open_media, resolve_decoder
from jepa.data.sampling import ROUNDING_S
from jepa.data.sources import Modality, Source
from jepa.data.video import UnreadableError, VideoInfo
from jepa.types import BadFile

GAP = 2  # pixels between the pictures of a sheet


@dataclass(frozen=True, slots=True)
class Summary:
    """What a source holds. Ranges are (smallest, median, largest); counters are by file."""

    name: str
    modality: Modality
    entries: int
    files: int
    classes: dict[str, int]
    """Entries per class name."""
    frames: int
    """Of all files that can be read."""
    hours: float
    durations_s: tuple[float, float, float]
    rates_fps: Counter[float]
    sizes_px: Counter[tuple[int, int]]
    """(height, width) of the upright frames."""
    codecs: Counter[str]
    mean: tuple[float, ...]
    """Of red, green and blue in [0, 1], over the decoded frames; with ``std`` what `data.mean` and `data.std` take."""
    std: tuple[float, ...]
    bad: tuple[BadFile, ...]


def inspect_source(source: Source, *, decoder: Decoder = "auto", timeout_s: float = 30.0) -> Summary:
    """Open every file of ``source`` and decode its first, middle, and last frame.

    That finds files that are empty, truncated, or without video; damage between those frames shows only in
    training.
    """
    resolved = resolve_decoder(decoder)
    infos: list[VideoInfo] = []
    sizes: Counter[tuple[int, int]] = Counter()
    moments: list[Tensor] = []
    bad: list[BadFile] = []
    for path in dict.fromkeys(entry.path for entry in source.entries):
        try:
            info, frames = _look(path, source.modality, decoder=resolved, timeout_s=timeout_s)
        except UnreadableError as error:
            bad.append(BadFile(path, error.reason))
            continue
        infos.append(info)
        sizes[(frames.shape[1], frames.shape[2])] += 1
        pixels = frames.flatten(0, 2).double() / 255  # (n, 3)
        moments.append(torch.stack([pixels.mean(0), pixels.square().mean(0)]))
    mean, square = torch.stack(moments).mean(0) if moments else torch.zeros(2, 3)
    labels = Counter(entry.label for entry in source.entries if entry.label is not None)
    return Summary(
        name=source.name,
        modality=source.modality,
        entries=len(source.entries),
        files=source.files,
        classes={name: labels[number] for number, name in enumerate(source.classes)},
        frames=sum(info.frames for info in infos),
        hours=sum(info.duration_s for info in infos) / 3600 if source.modality == "video" else 0.0,
        durations_s=_range([info.duration_s for info in infos]),
        rates_fps=Counter(round(info.fps, 2) for info in infos),
        sizes_px=sizes,
        codecs=Counter(info.codec for info in infos),
        mean=tuple(round(value, 3) for value in mean.tolist()),
        std=tuple(round(value, 3) for value in (square - mean.square()).sqrt().tolist()),
        bad=tuple(bad),
    )


def example_frames(
    source: Source, *, rows: int = 8, columns: int = 8, height_px: int = 96, decoder: Decoder = "auto"
) -> list[Tensor]:
    """Return frames spread over time, (columns, H, W, 3) uint8 each, of entries spread over ``source``.

    Entries that cannot be read are left out: `inspect_source` reports them.
    """
    resolved = resolve_decoder(decoder)
    step = max(1, len(source.entries) // rows)
    examples: list[Tensor] = []
    for entry in source.entries[::step]:
        try:
            with open_media(entry.path, source.modality, resolved) as video:
                last = min(entry.end or video.info.frames, video.info.frames) - 1
                indices = torch.linspace(entry.start, last, min(columns, last - entry.start + 1)).long()
                examples.append(shrink(video.read(indices.tolist()), height_px))
        except UnreadableError:
            continue
        if len(examples) == rows:
            break
    return examples


def stretch_frames(
    path: str,
    modality: Modality,
    *,
    times: tuple[float, float] | None = None,
    frames: int = 4,
    height_px: int = 96,
    decoder: Decoder = "auto",
) -> Tensor:
    """Return frames spread over a stretch of a file, (frames or fewer, H, W, 3) uint8.

    ``times`` are the first and the last second, by default those of the file. Raises UnreadableError.
    """
    with open_media(path, modality, resolve_decoder(decoder)) as video:
        first, last = times or (0.0, float(video.times[-1]))
        moments = np.linspace(first, last, frames) + ROUNDING_S
        indices = np.unique(np.maximum(np.searchsorted(video.times, moments, side="right") - 1, 0))
        return shrink(video.read(indices.tolist()), height_px)


def contact_sheet(clips: Iterable[Tensor], path: Path, *, height_px: int = 96) -> Path:
    """Write what `draw_sheet` draws as a PNG; return ``path``."""
    draw_sheet(clips, height_px=height_px).save(path, format="PNG")
    return path


def draw_sheet(clips: Iterable[Iterable[Tensor]], *, height_px: int = 96) -> Image.Image:
    """Draw one row per clip, its frames over time from left to right.

    Each clip is (T, H, W, 3) uint8, or a list of frames; sizes and lengths may differ.
    """
    rows = [[_thumbnail(frame, height_px) for frame in clip] for clip in clips]
    width = max((sum(picture.width + GAP for picture in row) for row in rows), default=GAP) - GAP
    sheet = Image.new("RGB", (max(1, width), max(1, len(rows) * (height_px + GAP) - GAP)), "white")
    for number, row in enumerate(rows):
        left = 0
        for picture in row:
            sheet.paste(picture, (left, number * (height_px + GAP)))
            left += picture.width + GAP
    return sheet


def _look(path: str, modality: Modality, *, decoder: Decoder, timeout_s: float) -> tuple[VideoInfo, Tensor]:
    """Return what ``path`` holds, and its first, middle and last frame, (3 or fewer, H, W, 3) uint8."""

    def look() -> tuple[VideoInfo, Tensor]:
        with open_media(path, modality, decoder) as video:
            last = video.info.frames - 1
            return video.info, video.read(sorted({0, last // 2, last}))

    return bounded(look, seconds=timeout_s, path=path)


def _thumbnail(frame: Tensor, height_px: int) -> Image.Image:
    """One frame (H, W, 3) uint8 as a picture of the given height."""
    picture = Image.fromarray(frame.numpy())
    return picture.resize((max(1, round(picture.width * height_px / picture.height)), height_px))


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    """Smallest, median, and largest value; zeros where there is none."""
    ordered = sorted(values) or [0.0]
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]
