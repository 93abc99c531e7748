"""Keep decoded videos in memory, up to a limit."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from jepa.data.sampling import ClipShape, clip_indices
from jepa.data.sources import Entry
from jepa.data.video import Times


class Clips(NamedTuple):
    """Clips cut from one file."""

    pixels: Tensor  # (clips, T, H, W, 3) uint8
    times: Times  # (clips, T) seconds since the first frame of the file


@dataclass(frozen=True, slots=True)
class Frames:
    """All frames of an entry, decoded."""

    pixels: Tensor  # (frames, H, W, 3) uint8
    times: Times  # (frames,) seconds

    def cut(self, shape: ClipShape, places: list[float]) -> Clips:
        """Return one clip per place."""
        indices = clip_indices(self.times, shape, places)  # (clips, T)
        # One copy per frame: indexing with a tensor takes twenty times as long.
        pixels = self.pixels.index_select(0, indices.flatten()).view(*indices.shape, *self.pixels.shape[1:])
        return Clips(pixels, self.times[indices.numpy()])


class FrameCache:
    """Decoded entries. Once full it keeps what it has: all entries are equally likely to be needed again."""

    def __init__(self, limit_mb: int) -> None:
        self._room = limit_mb * 1_000_000  # bytes
        self._kept: dict[Entry, Frames] = {}

    def get(self, entry: Entry) -> Frames | None:
        """Return the frames of ``entry`` if they are kept."""
        return self._kept.get(entry)

    def has_room(self, frames: int, height: int, width: int) -> bool:
        """Whether so many RGB frames still fit."""
        return frames * height * width * 3 <= self._room

    def put(self, entry: Entry, frames: Frames) -> None:
        """Keep ``frames``."""
        self._room -= frames.pixels.numel()
        self._kept[entry] = frames
