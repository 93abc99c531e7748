"""Decode with PyAV, whose wheel carries FFmpeg: the back end that is always there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from jepa.data.needed import Needed
from jepa.data.storage import media, size_of
from jepa.data.timetable import Timetable, describe, timetable_from_index, timetable_from_packets
from jepa.data.video import Closing, Cut, Times, UnreadableError, VideoInfo, check_range
from jepa.errors import DataError

SEEK_PAYS = 4  # frames: a seek flushes the decoder, which costs about as much as decoding these
PLAYLISTS = frozenset({"applehttp", "concat", "dash", "hls", "image2", "imf", "sdp"})
OWN_BYTES = {"protocol_whitelist": "file,subfile"}  # no video may make FFmpeg go to the network
NO_PICTURE = {
    "skip_frame": "all",
    "probesize": "2048",
}  # to know a stream, decode none of it, and read little
KEYS_TRIED = 3  # key frames to step back to before the file is decoded from its start


class PyAVVideo(Closing):
    """A video file, anywhere that `jepa.data.storage` reaches, read through PyAV.

    Frames are addressed by presentation time: frame ``i`` is the picture on screen at ``times[i]``. Reading
    goes on from where the last read ended, and seeks only where a key frame lies between there and the wanted
    frame. What the wanted frames do not depend on is not decoded, where that is known (see `Needed`).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._shown: tuple[int, VideoFrame] | None = None  # the last frame passed
        self._ahead: tuple[int, VideoFrame] | None = None  # one more that was decoded to know it comes later
        with _reasons(path):
            self._media = media(path)
            self._container, self._stream = open_stream(path, self._media)
            indexed = timetable_from_index(self._container, self._stream)
            table = indexed or timetable_from_packets(self._container, self._stream)
            if table is None:
                raise UnreadableError(path, "its video stream holds no frames")
            self._table = table
            self._info = describe(table, self._stream)
            self._needed = Needed(table.keys.tolist(), self._stream.codec_context)
            if table.counted:
                self._needed.distrust()  # packets do not tell which frames they hold
            if indexed is None:
                self._rewind()
            else:
                self._frames = _decode(self._container, self._stream, self._needed, counted=False)
        self._reformatter = VideoReformatter()

    @property
    def info(self) -> VideoInfo:
        """Counts, rates, and sizes."""
        return self._info

    @property
    def times(self) -> Times:
        """(frames,) seconds."""
        return self._table.times

    @property
    def table(self) -> Timetable:
        """The frames' times in the file's own units."""
        return self._table

    @property
    def media(self) -> str | bytes:
        """What is decoded, as `jepa.data.storage.media` gave it."""
        return self._media

    @property
    def stream_index(self) -> int:
        """Which of the file's streams is read."""
        return self._stream.index

    def read(self, indices: Sequence[int], cut: Cut | None = None) -> Tensor:
        """Decode the frames at ``indices`` (see `Video.read`)."""
        check_range(indices, self._info.frames)
        kept: list[Tensor | None] = [None] * len(indices)
        places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            places.setdefault(index, []).append(place)
        wanted = sorted(places)
        self._needed.want(self._table.ticks[wanted].tolist())
        for index in wanted:
            with _reasons(self._path):
                pixels = self._pixels(self._frame(index))  # (H, W, 3)
            for place in places[index]:
                kept[place] = cut(place, pixels) if cut else pixels
        return torch.stack([pixels for pixels in kept if pixels is not None])  # (T, ...)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _frame(self, index: int) -> VideoFrame:
        """Decode up to the frame that is on screen at ``times[index]``."""
        target = int(self._table.ticks[index])
        if self._seek_pays(target):
            self._seek(target)
        reached = self._advance(target)
        if self._needed.left_out and (self._shown is None or self._shown[0] != target):
            self._needed.distrust()  # the file is not what its packets say: decode everything, from here on
            self._seek(target)
            reached = self._advance(target)
        if not reached:
            self._check_end(index)
        assert self._shown is not None  # else the end was checked
        return self._shown[1]

    def _advance(self, target: int) -> bool:
        """Decode up to the last frame that is shown by ``target``. Returns whether the stream went on so far."""
        while self._shown is None or self._shown[0] < target:
            if self._ahead is None:
                self._ahead = next(self._frames, None)
            if self._ahead is None:
                return False
            if self._shown is not None and self._ahead[0] > target:
                break
            self._shown, self._ahead = self._ahead, None
        return True

    def _check_end(self, index: int) -> None:
        """Raise where the stream ended before frame ``index``, by more than a lost last packet explains."""
        reached = -np.inf if self._shown is None else self._shown[0]
        if reached + 1.5 * self._table.interval < self._table.ticks[index]:
            got = int(np.searchsorted(self._table.ticks, reached, side="right"))
            raise UnreadableError(
                self._path, f"ends after frame {got} of {self._info.frames}: truncated or damaged"
            )

    def _seek_pays(self, target: int) -> bool:
        """Whether to seek for ``target``: it lies behind, or a key frame well ahead leads to it."""
        ticks, keys = self._table.ticks, self._table.keys
        position = ticks[0] if self._shown is None else self._shown[0]
        if position > target:
            return True
        if self._needed.spent:
            return bool(position != target)
        key = keys[np.searchsorted(keys, target, side="right") - 1]
        return bool(np.searchsorted(ticks, key) > np.searchsorted(ticks, position) + SEEK_PAYS)

    def _seek(self, target: int) -> None:
        """Stand on a key frame at or before ``target``.

        Containers seek by decoding time, so they may land on a key frame that is shown after the target; and
        frames that come out before the key frame lack what they refer to. Both are checked on what is
        decoded.
        """
        keys = self._table.keys
        last = int(np.searchsorted(keys, target, side="right"))
        for key in keys[max(1, last - KEYS_TRIED) : last][::-1]:  # keys[0] is the start of the file
            self._container.seek(int(key), stream=self._stream, backward=True)
            self._needed.restart(target)
            self._frames = _decode(self._container, self._stream, self._needed, counted=False)
            self._ahead = None
            self._shown = next((pair for pair in self._frames if pair[1].key_frame), None)
            if self._shown is not None and self._shown[0] <= target:
                return
        self._rewind()

    def _rewind(self) -> None:
        """Stand before the first frame. Opens the file anew, which works where seeking does not."""
        self._container.close()
        self._container, self._stream = open_stream(self._path, self._media)
        self._needed.restart(int(self._table.ticks[0]))
        self._frames = _decode(self._container, self._stream, self._needed, self._table.counted)
        self._shown, self._ahead = None, None

    def _pixels(self, frame: VideoFrame) -> Tensor:
        """Convert to upright RGB, (H, W, 3), at one size even where the stream changes its size midway."""
        rgb = self._reformatter.reformat(
            frame, width=self._info.width, height=self._info.height, format="rgb24", threads=1
        )
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)  # no copy
        pixels = rows[:, : 3 * plane.width].reshape(plane.height, plane.width, 3)
        turns = round(frame.rotation / 90) % 4  # flags are counter-clockwise, as is rot90
        return torch.from_numpy(np.ascontiguousarray(np.rot90(pixels, k=turns)) if turns else pixels)


def open_stream(path: str, opened: str | bytes | None = None) -> tuple[InputContainer, VideoStream]:
    """Open ``path`` and choose its video stream: the one FFmpeg calls best, never cover art.

    ``opened`` is what `jepa.data.storage.media` gave for ``path``, where it was asked before. Raises UnreadableError
    when there is none, and av's own errors.
    """
    opened = media(path) if opened is None else opened
    if size_of(path, opened) == 0:
        raise UnreadableError(path, "the file is empty (0 bytes)")
    container = _open_container(opened)
    if names := PLAYLISTS.intersection(container.format.name.split(",")):
        container.close()
        raise UnreadableError(path, f"is no video but a list of other files ({min(names)})")
    moving = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not moving:
        kinds = ", ".join(sorted({str(stream.type) for stream in container.streams}))
        container.close()
        raise UnreadableError(path, f"has no video stream (its streams: {kinds or 'none'})")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in moving else moving[0]
    # One thread: processes, one per worker, decode side by side; frame threads would only add delay to a
    # seek.
    stream.codec_context.thread_count = 1
    return container, stream


def _open_container(opened: str | bytes) -> InputContainer:
    """Open a container; of a usual mp4 file without decoding its first pictures, which takes most of the time."""

    def open_with(options: dict[str, str]) -> InputContainer:
        bytes_or_name = opened if isinstance(opened, str) else BytesIO(opened)
        return av.open(bytes_or_name, "r", metadata_errors="ignore", options=OWN_BYTES | options)

    try:
        quick = open_with(NO_PICTURE)
    except av.FFmpegError:
        return open_with({})  # which says what is wrong, or finds out what it is after all
    if _tells_order(quick):
        return quick
    quick.close()
    return open_with({})


def _tells_order(container: InputContainer) -> bool:
    """Whether the header of a file tells how far H.264 pictures are out of order, so that none need be decoded for it.

    FFmpeg takes it from the times in an mp4 file. Where pictures come in order, the first is shown when it is decoded.
    """
    if "mp4" not in container.format.name or len(container.streams.video) != 1:
        return False
    stream = container.streams.video[0]
    codec, entries = stream.codec_context, stream.index_entries
    if codec.name != "h264" or not codec.width or not len(entries) or stream.start_time is None:
        return False
    return codec.has_b_frames or entries[0].timestamp == stream.start_time


def _decode(
    container: InputContainer, stream: VideoStream, needed: Needed, counted: bool
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (time in ticks, frame); the time is the frame's number where the file knows no times."""
    for number, frame in enumerate(_decoded(container, stream, needed)):
        if counted:
            yield number, frame
        elif frame.pts is not None:
            yield frame.pts, frame


def _decoded(container: InputContainer, stream: VideoStream, needed: Needed) -> Iterator[VideoFrame]:
    """Decode the packets that are needed; end where they turn out not to suffice."""
    for packet in container.demux(stream):
        if needed.needs(packet) and not needed.doubtful:
            yield from packet.decode()
        if needed.doubtful:
            return
        if needed.complete:  # the decoder would hold frames back until it has seen later ones
            needed.spent = True
            yield from stream.codec_context.decode(None)
            return


@contextmanager
def _reasons(path: str) -> Iterator[None]:
    """Turn what FFmpeg and the file system raise into an UnreadableError that says why."""
    try:
        yield
    except DataError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        detail = getattr(error, "log", None)
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(path, f"{reason} ({detail[2].strip()})" if detail else reason) from error
