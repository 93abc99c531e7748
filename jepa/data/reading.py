"""From an entry of a source to the pixels of its clips: cache, decoder, time limit, shrinking."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from jepa.config.data import ReadConfig
from jepa.data.augment import shrink
from jepa.data.cache import Clips, FrameCache, Frames
from jepa.data.decode import Decoder, bounded, open_media
from jepa.data.sampling import ClipShape, clip_indices, context_range, frame_range
from jepa.data.signs import count_wait, reading_file
from jepa.data.sources import Entry, Modality
from jepa.data.storage import may_return
from jepa.data.video import Cut, DecodeTimeoutError, UnreadableError, Video
from jepa.errors import DataError

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0  # for a source that cannot be reached; each wait is twice the last
ClipCut = Callable[[int, Tensor], Tensor]
"""What to make of the frames of a clip, one by one or all at once: (number of the clip, (T, H, W, 3)) -> (T, ...)."""
CHUNK = 64  # frames decoded at full size before they are shrunk, which bounds the memory of a long video


class ClipReader:
    """Reads clips as ``data`` describes them. One per process: it holds the cache.

    With ``ahead_s``, clips are cut from what lies at least so many seconds before an entry's first frame, and not
    from the entry itself: the context from which its label is to be anticipated. Where an entry starts with its
    file, there is nothing before it: then its last frame is what is anticipated.
    """

    def __init__(
        self, data: ReadConfig, *, decoder: Decoder, cache_mb: int = 0, ahead_s: float | None = None
    ) -> None:
        self._shapes: dict[Modality, ClipShape] = {"image": ClipShape(1, stride=1)}
        if data.fps is not None or data.stride is not None:  # neither is needed where all sources are images
            self._shapes["video"] = ClipShape(data.frames_per_clip, fps=data.fps, stride=data.stride)
        self._decoder, self._ahead_s = decoder, ahead_s
        self._seconds = data.decode_timeout_s
        self._short_side = data.short_side
        self._cache = FrameCache(cache_mb)
        self._avoided: dict[str, str] = {}
        self._patience = self._retry_s = (
            data.retry_s
        )  # what is left of it, since a file was read the last time

    def avoid(self, path: str, reason: str) -> None:
        """Take a file for one that cannot be read, without trying."""
        self._avoided[path] = reason

    def read(
        self, entry: Entry, modality: Modality, places: list[float], cut: ClipCut | None = None
    ) -> Clips:
        """Return one clip per place (see `sampling.clip_places`), all cut from one opened file.

        Pixels are at most ``data.short_side`` high or wide; with ``cut``, they are what it made of them: as each
        frame is decoded, so that no clip is ever held at full size. Raises UnreadableError for a file that cannot be
        read, and DataError where more clips are asked for than the entry has frames.
        """
        frames = self._cache.get(entry)
        if frames is not None:
            return _cut_clips(frames.cut(self._shapes[modality], places), cut)
        if entry.path in self._avoided:
            raise UnreadableError(entry.path, self._avoided[entry.path])
        clips, frames = self._patiently(entry, modality, places, cut)
        if frames is not None:
            self._cache.put(entry, frames)
        return clips

    def _patiently(
        self, entry: Entry, modality: Modality, places: list[float], cut: ClipCut | None
    ) -> tuple[Clips, Frames | None]:
        """Decode; try again, after longer and longer waits, where not the file but its source failed."""
        wait = FIRST_WAIT_S
        while True:
            try:
                with reading_file(entry.path):
                    found = bounded(
                        lambda: self._decode(entry, modality, places, cut),
                        seconds=self._seconds,
                        path=entry.path,
                    )
            except DecodeTimeoutError as error:
                self.avoid(entry.path, error.reason)  # each try would cost the whole time limit again
                raise
            except UnreadableError as error:
                if self._patience <= 0 or not may_return(entry.path, error):
                    raise
            else:
                self._patience = self._retry_s
                return found
            count_wait()
            time.sleep(min(wait, self._patience))
            self._patience -= wait
            wait = min(2 * wait, LONGEST_WAIT_S)

    def _decode(
        self, entry: Entry, modality: Modality, places: list[float], cut: ClipCut | None
    ) -> tuple[Clips, Frames | None]:
        """Return the clips, and all frames of the entry where the cache has room for them."""
        shape = self._shapes[modality]
        with open_media(entry.path, modality, self._decoder) as video:
            try:
                first, last = frame_range(video.info.frames, start=entry.start, end=entry.end)
                if self._ahead_s is not None:
                    first, last = context_range(video.times, first or last - 1, ahead_s=self._ahead_s)
            except ValueError as error:
                raise UnreadableError(entry.path, str(error)) from error
            if len(places) > last - first:
                raise DataError(
                    f"{entry.path}: {len(places)} clips are asked for, but there are {last - first} frames — "
                    "lower clips_per_video, or leave short videos out of the list"
                )
            frames = self._all_frames(video, first, last)
            if frames is not None:
                return _cut_clips(frames.cut(shape, places), cut), frames
            indices = clip_indices(video.times, shape, places, start=first, end=last)  # (clips, T)
            pixels = video.read(indices.flatten().tolist(), self._frame_cut(shape, cut))
            return Clips(pixels.view(*indices.shape, *pixels.shape[1:]), video.times[indices.numpy()]), None

    def _frame_cut(self, shape: ClipShape, cut: ClipCut | None) -> Cut | None:
        """Return what is to be done to each decoded frame of clips that follow one another."""
        if cut is None and self._short_side is None:
            return None

        def shrunk(place: int, frame: Tensor) -> Tensor:
            small = shrink(frame[None], self._short_side)  # (1, h, w, 3)
            return small[0] if cut is None else cut(place // shape.frames, small)[0]

        return shrunk

    def _all_frames(self, video: Video, first: int, last: int) -> Frames | None:
        """Decode frames ``first`` to ``last`` - 1 for the cache.

        Returns None where there is no room, or where the file is damaged somewhere: a clip that misses the
        damage must not depend on whether the cache had room, or a resumed run would differ.
        """
        height, width = video.info.height, video.info.width
        scale = min(1.0, (self._short_side or min(height, width)) / min(height, width))
        if not self._cache.has_room(last - first, round(height * scale), round(width * scale)):
            return None
        chunks = [range(begin, min(begin + CHUNK, last)) for begin in range(first, last, CHUNK)]
        try:
            pixels = torch.cat([shrink(video.read(chunk), self._short_side) for chunk in chunks])
        except UnreadableError:
            return None
        return Frames(pixels, video.times[first:last])


def _cut_clips(clips: Clips, cut: ClipCut | None) -> Clips:
    """Do to clips that are in memory what is done to others as they are decoded."""
    if cut is None:
        return clips
    return Clips(torch.stack([cut(number, clip) for number, clip in enumerate(clips.pixels)]), clips.times)
