"""Which frames make a clip: pure functions of the frames' times and of random numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.data.video import Times

ROUNDING_S = 1e-3  # containers round times to as little as a millisecond


@dataclass(frozen=True, slots=True)
class ClipShape:
    """How frames are picked for a clip: every ``stride``-th one, or ``fps`` per second."""

    frames: int
    fps: float | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if (self.fps is None) == (self.stride is None):
            raise ValueError(
                f"give exactly one of fps and stride, got fps={self.fps} and stride={self.stride}"
            )


def frame_range(frames: int, *, start: int, end: int | None) -> tuple[int, int]:
    """Return the part [start, end) of a video that its list entry names, ``end`` cut to what the video has.

    Raises ValueError when nothing is left.
    """
    last = frames if end is None else min(end, frames)
    if not 0 <= start < last:
        wanted = f"frames {start} to {'the end' if end is None else end}"
        raise ValueError(f"the list asks for {wanted}, but the video has {frames} frames")
    return start, last


def context_range(times: Times, event: int, *, ahead_s: float) -> tuple[int, int]:
    """Return the frames [0, end) that are shown at least ``ahead_s`` seconds before frame ``event``.

    Raises ValueError when there is none.
    """
    end = int(np.searchsorted(times, times[event] - ahead_s + ROUNDING_S, side="right"))
    if times[event] - ahead_s + ROUNDING_S < times[0] or event == 0:
        raise ValueError(
            f"nothing is to be seen {ahead_s:g} s before frame {event}, which is shown at {times[event]:.2f} s"
        )
    return 0, min(end, event)


def clip_places(clips: int, *, jitter: bool, generator: torch.Generator) -> list[float]:
    """Return where each clip starts, in [0, 1) of the room there is, in increasing order.

    The room is divided into equal parts, one per clip. A clip starts at a random place of its part with
    ``jitter``, in the middle of it without: one clip without jitter is the centre clip.
    """
    within = torch.rand(clips, generator=generator).tolist() if jitter else [0.5] * clips
    return [(clip + place) / clips for clip, place in enumerate(within)]


def clip_indices(
    times: Times, shape: ClipShape, places: list[float], *, start: int = 0, end: int | None = None
) -> Tensor:
    """Return the frame indices of one clip per place, (clips, T) long.

    ``times`` are the seconds of all frames, ``places`` come from `clip_places`, and ``start``, ``end`` bound
    the frames that may be used. By ``fps``, the frame on screen at each moment is taken, so frames repeat
    where the file has fewer, and variable frame rates are respected. What is too short for a clip is padded
    with its last frame.

    Raises ValueError when the bounds leave no frame.
    """
    first, last = frame_range(len(times), start=start, end=end)
    return torch.from_numpy(
        np.stack([_one_clip(times[first:last], shape, place) + first for place in places])
    )


def _one_clip(times: Times, shape: ClipShape, place: float) -> NDArray[np.int64]:
    """Frame indices (T,) of the clip that starts at ``place`` of the room ``times`` leaves."""
    steps = np.arange(shape.frames)
    if shape.stride is not None:
        room = len(times) - 1 - (shape.frames - 1) * shape.stride
        begin = int(place * (room + 1)) if room > 0 else 0
        indices: NDArray[np.int64] = np.minimum(begin + steps * shape.stride, len(times) - 1)
        return indices
    assert shape.fps is not None
    seconds = times[-1] - times[0] - (shape.frames - 1) / shape.fps
    moments = times[0] + place * max(0.0, seconds) + steps / shape.fps
    shown: NDArray[np.int64] = np.searchsorted(times, moments + ROUNDING_S, side="right") - 1
    return shown
