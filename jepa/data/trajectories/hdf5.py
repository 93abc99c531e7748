"""One HDF5 file of all episodes end to end, the layout that stable-worldmodel and LeWM publish.

``ep_len`` and ``ep_offset`` name each episode's rows; every other array has one row per frame. The action of row t
leads from frame t to frame t + 1: that of an episode's last row leads nowhere, and is NaN there.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.config.trajectories import Hdf5Source
from jepa.data.trajectories.opened import Opened
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.runtime.extras import need
from jepa.types import Trajectory

LENGTHS, OFFSETS = "ep_len", "ep_offset"


@dataclass(frozen=True, slots=True)
class Hdf5Frames:
    """Rows ``start`` to ``start + count`` - 1 of an array of frames, (rows, H, W, 3) or (rows, 3, H, W) uint8."""

    path: str
    name: str
    start: int
    count: int
    channels_first: bool

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Return the frames at ``index``, (n, H, W, 3). Raises UnreadableError."""
        rows, places = np.unique(index + self.start, return_inverse=True)  # the file takes each row once
        try:
            frames = np.asarray(_opened(self.path, os.getpid())[self.name][rows], np.uint8)[places]
        except OSError as error:  # also a compression whose plug-in is not installed
            raise UnreadableError(self.path, str(error)) from error
        return frames.transpose(0, 2, 3, 1) if self.channels_first else frames


@lru_cache(maxsize=4)
def _opened(path: str, process: int) -> Any:
    """Open a file once per process: a fork must not share a handle."""
    return need("h5py", extra="hdf5").File(path, "r")


def open_hdf5(config: Hdf5Source) -> Opened:
    """Open the episodes of a file. Raises DataError where arrays are missing or do not fit each other."""
    h5py = need("h5py", extra="hdf5")
    if not Path(config.path).is_file():
        raise DataError(f"{config.path}: this file does not exist — give an HDF5 file of episodes")
    try:
        with h5py.File(config.path, "r") as file:
            return _episodes(config, file)
    except OSError as error:
        raise DataError(f"{config.path}: the file cannot be read: {error}") from error


def _episodes(config: Hdf5Source, file: Any) -> Opened:
    """Cut the rows of an open file into episodes."""
    names = [config.frames, config.actions, *([config.proprio] if config.proprio else [])]
    for name in (LENGTHS, OFFSETS, *names):
        if name not in file:
            raise DataError(f"{config.path}: there is no array {name!r}; the file holds {sorted(file)}")
    lengths, offsets = (np.asarray(file[name][: config.episodes]).reshape(-1) for name in (LENGTHS, OFFSETS))
    if len(lengths) != len(offsets):
        raise DataError(f"{config.path}: {len(lengths)} lengths in ep_len and {len(offsets)} in ep_offset")
    _check_rows(config.path, file, names, int((lengths + offsets).max(initial=0)))
    channels_first = _channels_first(config, file[config.frames])
    end = int((lengths + offsets).max(initial=0))
    actions = _matrix(file[config.actions][:end])
    proprio = _matrix(file[config.proprio][:end]) if config.proprio else None
    episodes = []
    for number, (start, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
        episodes.append(
            Trajectory(
                name=f"episode-{number:06d}",
                frames=Hdf5Frames(config.path, config.frames, start, length, channels_first),
                actions=actions[start : start + max(0, length - 1)],
                proprio=None if proprio is None else proprio[start : start + length],
            )
        )
    return Opened(tuple(episodes))


def _check_rows(path: str, file: Any, names: list[str], rows: int) -> None:
    """Raise DataError where an array has fewer rows than the episodes need."""
    for name in names:
        if len(file[name]) < rows:
            raise DataError(
                f"{path}: array {name!r} has {len(file[name])} rows, but the episodes in ep_len and ep_offset "
                f"need {rows}; the file is not whole: fetch or write it again"
            )


def _channels_first(config: Hdf5Source, frames: Any) -> bool:
    """Say where the channels are. Raises DataError for what is no array of RGB frames."""
    if frames.dtype == np.uint8 and frames.ndim == 4 and 3 in (frames.shape[1], frames.shape[3]):
        return bool(frames.shape[3] != 3)
    raise DataError(
        f"{config.path}: array {config.frames!r} is {frames.dtype} {frames.shape}, not uint8 frames "
        "(rows, H, W, 3) or (rows, 3, H, W); name the right one with `frames`"
    )


def _matrix(rows: Any) -> NDArray[np.float32]:
    """Return numbers as one row each: (n,) or (n, ...) -> (n, A) float32."""
    array = np.asarray(rows, np.float32)
    return array.reshape(len(array), -1)
