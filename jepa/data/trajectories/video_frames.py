"""The frames of an episode that lie in a video, decoded when asked for."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepa.data.decode import Decoder, open_video
from jepa.data.video import UnreadableError, Video

OPEN = 8  # videos that a process keeps open: opening one of hours costs more than decoding a window


class _OpenVideos:
    """Videos that are open and that nobody reads at the moment.

    A video is taken out while it is read: a read that hangs in its thread keeps it, and the next one opens its own.
    """

    def __init__(self) -> None:
        self._idle: OrderedDict[tuple[str, Decoder, int], Video] = OrderedDict()

    @contextmanager
    def taken(self, path: str, decoder: Decoder) -> Iterator[Video]:
        """Give an opened video; where reading it fails, it is not kept."""
        key = (path, decoder, os.getpid())  # a fork shares its parent's place in the file
        video = self._idle.pop(key, None) or open_video(path, decoder)
        yield video
        self._idle[key] = video
        while len(self._idle) > OPEN:
            self._idle.popitem(last=False)[1].close()


OPEN_VIDEOS = _OpenVideos()


@dataclass(frozen=True, slots=True)
class VideoFrames:
    """``count`` frames of a video, from frame ``start`` on, or from the frame shown at ``start_s`` seconds."""

    path: str
    count: int
    start: int = 0
    start_s: float | None = None
    decoder: Decoder = "auto"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Decode the frames at ``index``. Raises UnreadableError, also for a video that is too short."""
        with OPEN_VIDEOS.taken(self.path, self.decoder) as video:
            start = self.start if self.start_s is None else int(np.abs(video.times - self.start_s).argmin())
            if start + self.count > video.info.frames:
                raise UnreadableError(
                    self.path,
                    f"has {video.info.frames} frames, but the episode's {self.count} frames start at frame {start}",
                )
            return video.read((index + start).tolist()).numpy()
