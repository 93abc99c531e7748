"""When each frame of a file is shown, found without decoding one."""

from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from jepa.data.video import Times, VideoInfo

Ticks = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Timetable:
    """Presentation times of all frames of one video stream."""

    ticks: Ticks
    """(frames,) presentation times, increasing, in units of ``seconds_per_tick``."""
    keys: Ticks
    """Times, in ticks, at or before which decoding can start; increasing, never empty."""
    seconds_per_tick: float
    counted: bool
    """The file holds no usable times: ticks are places in decoding order, and there is no seeking."""

    @property
    def times(self) -> Times:
        """Seconds since the first frame."""
        times: Times = (self.ticks - self.ticks[0]) * self.seconds_per_tick
        return times

    @property
    def interval(self) -> float:
        """Ticks between frames: the median; for a single frame, what its stream was said to have."""
        return float(np.median(np.diff(self.ticks))) if len(self.ticks) > 1 else 1.0


def describe(table: Timetable, stream: VideoStream) -> VideoInfo:
    """Sum up ``table`` and what the header says."""
    frames, times = len(table.ticks), table.times
    if frames > 1:
        fps = (frames - 1) / float(times[-1])
    else:
        fps = float(stream.average_rate or stream.guessed_rate or 1)
    codec = stream.codec_context
    return VideoInfo(
        frames=frames,
        fps=fps,
        duration_s=float(times[-1]) + (table.interval * table.seconds_per_tick if frames > 1 else 1 / fps),
        height=codec.height,
        width=codec.width,
        codec=codec.codec.canonical_name,
    )


def timetable_from_index(container: InputContainer, stream: VideoStream) -> Timetable | None:
    """Trust the index of an mp4 or mov file that lists all frames at one constant rate, else return None.

    No packet is read. The index holds decoding times. At a constant rate they are the presentation times but
    for a shift, and a frame that decodes at place i is shown at place i or, at an open group of pictures, a
    little later.
    """
    entries = stream.index_entries
    if "mp4" not in container.format.name or not len(entries) or len(entries) != stream.frames:
        return None
    if stream.start_time is None or stream.time_base is None:
        return None
    marks = [(entry.timestamp, entry.is_keyframe, entry.is_discard) for entry in entries]
    decode_ticks = np.array([mark[0] for mark in marks], dtype=np.int64)
    steps = np.diff(decode_ticks)
    if any(mark[2] for mark in marks) or (len(steps) and (steps.min() != steps.max() or steps[0] <= 0)):
        return None
    ticks = decode_ticks - decode_ticks[0] + stream.start_time
    keys = ticks[[mark[1] for mark in marks]]
    return Timetable(ticks, _with_start(keys, ticks), float(stream.time_base), counted=False)


def timetable_from_packets(container: InputContainer, stream: VideoStream) -> Timetable | None:
    """Read (not decode) every packet of the stream, for variable rates and containers without an index.

    Returns None for a stream without packets. Uses up the container: open it anew to decode.
    """
    shown: list[int | None] = []
    keys: list[int] = []
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:  # the flush mark at the end, or cut off by an edit list
                continue
            shown.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)
    except av.InvalidDataError:
        if not shown:
            raise  # a damaged tail leaves the frames before it usable; a damaged start leaves nothing
    if not shown:
        return None
    known = np.unique(np.array([tick for tick in shown if tick is not None], dtype=np.int64))
    if len(known) < len(shown) or stream.time_base is None:
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return Timetable(np.arange(len(shown)), np.zeros(1, dtype=np.int64), 1 / rate, counted=True)
    return Timetable(
        known, _with_start(np.array(keys, dtype=np.int64), known), float(stream.time_base), counted=False
    )


def _with_start(keys: Ticks, ticks: Ticks) -> Ticks:
    """Sort ``keys`` and add the first frame: decoding can always start at the front of the file."""
    return np.unique(np.append(keys, ticks[0]))
