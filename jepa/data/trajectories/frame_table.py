"""A CSV with one row per video frame: the video's name, the frame's number, and what was done there."""

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jepa.config.trajectories import FrameTableSource
from jepa.data.decode import Decoder, open_video
from jepa.data.sources import VIDEO_SUFFIXES
from jepa.data.trajectories.opened import Opened
from jepa.data.trajectories.video_frames import VideoFrames
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.types import BadFile, Trajectory

SHOWN = 10  # problems named in a message


@dataclass(slots=True)
class Run:
    """The rows of one video."""

    start: int
    """Its first frame."""
    rows: list[list[float]] = field(default_factory=list)
    """Actions, then proprioception, of each frame."""


def open_frame_table(config: FrameTableSource, *, decoder: Decoder = "auto") -> Opened:
    """Open the videos that a CSV names: one episode each, whose frames follow one another without a gap.

    The actions of row t lead from frame t to frame t + 1, so those of a video's last row are left out. Videos that
    are not there are `missing`. Raises DataError that names all lines that cannot be used.
    """
    table = Path(config.path)
    folder = table.parent / config.videos
    files = _videos(folder)
    runs = _read(table, config)
    episodes, bad, missing = [], [], []
    for name in list(runs)[: config.episodes]:
        if name not in files:
            missing.append(BadFile(str(folder / name), "is not there"))
            continue
        try:
            episodes.append(_episode(name, files[name], runs[name], config, decoder))
        except UnreadableError as error:
            bad.append(BadFile(error.path, error.reason))
    return Opened(tuple(episodes), tuple(bad), tuple(missing))


def _videos(folder: Path) -> dict[str, str]:
    """Return the folder's videos by their names, with and without suffix."""
    if not folder.is_dir():
        raise DataError(f"{folder}: this folder does not exist — name the folder of the videos with `videos`")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
    return {file.stem: str(file) for file in files} | {file.name: str(file) for file in files}


def _episode(name: str, path: str, run: Run, config: FrameTableSource, decoder: Decoder) -> Trajectory:
    """Bring a video and its rows together. Raises DataError where the video is too short."""
    with open_video(path, decoder) as video:  # its index, no frame
        info = video.info
    if run.start + len(run.rows) > info.frames:
        raise DataError(
            f"{config.path}: {name} has rows up to frame {run.start + len(run.rows) - 1}, "
            f"but {path} has {info.frames} frames — every row needs its frame"
        )
    numbers = np.array(run.rows, np.float32)
    size = len(config.actions)
    return Trajectory(
        name=name,
        frames=VideoFrames(path, len(run.rows), start=run.start, decoder=decoder),
        actions=numbers[:-1, :size],
        rate=info.fps,
        proprio=numbers[:, size:] if config.proprio else None,
    )


def _read(path: Path, config: FrameTableSource) -> dict[str, Run]:
    """Read the rows, in the order of the file, video by video."""
    names = (config.video, config.frame, *config.actions, *config.proprio)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = reader.fieldnames or []
            if lacking := [name for name in names if name not in header]:
                raise DataError(
                    f"{path}: there is no column {lacking[0]!r}; the header names {', '.join(header) or 'nothing'}"
                )
            return _runs(path, [(reader.line_num, [row[name] or "" for name in names]) for row in reader])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the table cannot be read: {error}") from error


def _runs(path: Path, lines: list[tuple[int, list[str]]]) -> dict[str, Run]:
    """Gather the rows of each video; all problems at once."""
    runs: dict[str, Run] = {}
    problems = []
    for number, (name, frame, *cells) in lines:
        try:
            values = [_number(cell) for cell in cells]
            run = runs.setdefault(name, Run(_whole(frame)))
            if _whole(frame) != run.start + len(run.rows):
                raise ValueError(
                    f"frame {frame} of {name} follows frame {run.start + len(run.rows) - 1}; "
                    "the frames of a video must follow one another"
                )
            run.rows.append(values)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError(
            f"{path}: {len(problems)} lines cannot be used:\n  " + "\n  ".join(problems[:SHOWN] + more)
        )
    if not runs:
        raise DataError(f"{path}: the table has no row below its header")
    return runs


def _number(text: str) -> float:
    """Read a number."""
    value = float(text) if text.strip() else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value


def _whole(text: str) -> int:
    """Read a frame's number."""
    if not text.strip().isdecimal():
        raise ValueError(f"frame must be a whole number, got {text!r}")
    return int(text)
