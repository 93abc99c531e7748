"""What an opened video is, whichever library decodes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.data.locations import spelled
from jepa.errors import DataError

Times = NDArray[np.float64]

Cut = Callable[[int, Tensor], Tensor]
"""What to keep of a frame: (its place among those asked for, (H, W, 3) uint8) -> a tensor. The frame's memory is only
lent: what is kept must not change it."""


class UnreadableError(DataError):
    """One file cannot be read; the run may go on without it."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = spelled(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")


class DecodeTimeoutError(UnreadableError):
    """Decoding a file took longer than it may."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the container says about its video stream."""

    frames: int
    fps: float
    """Mean frames per second."""
    duration_s: float
    """From the first frame to the end of the last one."""
    height: int
    """Pixels, as stored: a rotation flag may swap height and width of the frames that are read."""
    width: int
    codec: str


class Video(Protocol):
    """A video that is open for reading."""

    @property
    def info(self) -> VideoInfo:
        """Counts, rates, and sizes."""

    @property
    def times(self) -> Times:
        """When each frame appears: (frames,) seconds, increasing, 0 for the first."""

    def read(self, indices: Sequence[int], cut: Cut | None = None) -> Tensor:
        """Decode frames by their place in presentation order, in any order, with repeats.

        Returns (T, H, W, 3) uint8 RGB, upright; with ``cut``, what it kept of each: (T, ...). Raises
        UnreadableError where a frame cannot be decoded, and IndexError for an index outside [0, frames).
        """

    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing:
    """Gives a class with ``close`` the context manager protocol."""

    def close(self) -> None:
        """Release what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_range(indices: Sequence[int], frames: int) -> None:
    """Raise IndexError for an index outside [0, frames); a negative one would count from the end."""
    if indices and (min(indices) < 0 or max(indices) >= frames):
        raise IndexError(f"frame indices {min(indices)} to {max(indices)} must lie in [0, {frames})")


def kept(frames: Tensor, cut: Cut | None) -> Tensor:
    """Return what ``cut`` keeps of each of (T, H, W, 3), or all of them."""
    return frames if cut is None else torch.stack([cut(place, frame) for place, frame in enumerate(frames)])
