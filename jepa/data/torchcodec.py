"""Decode with torchcodec, where it is installed and works."""

import importlib
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from torch import Tensor

from jepa.data.pyav import PyAVVideo
from jepa.data.video import Closing, Cut, Times, UnreadableError, VideoInfo, check_range, kept

ERRORS = (RuntimeError, ValueError, IndexError)  # what its decoder raises for a file it cannot read


class TorchcodecVideo(Closing):
    """A video file, or its bytes, whose frames torchcodec decodes.

    Frame times and the choice of stream come from PyAV, so that both back ends cut the same frames for a
    clip.
    """

    def __init__(self, path: str) -> None:
        with PyAVVideo(path) as reference:
            self._info, self._table, stream = reference.info, reference.table, reference.stream_index
        self._path = path
        try:
            self._decoder = _module().VideoDecoder(
                reference.media,
                stream_index=stream,
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                seek_mode="exact",
            )
        except ERRORS as error:
            raise UnreadableError(path, _first_line(error)) from error

    @property
    def info(self) -> VideoInfo:
        """Counts, rates, and sizes."""
        return self._info

    @property
    def times(self) -> Times:
        """(frames,) seconds."""
        return self._table.times

    def read(self, indices: Sequence[int], cut: Cut | None = None) -> Tensor:
        """Decode the frames at ``indices`` (see `Video.read`)."""
        check_range(indices, self._info.frames)
        try:
            if self._table.counted:
                frames: Tensor = self._decoder.get_frames_at(list(indices)).data
            else:
                frames = self._decoder.get_frames_played_at(self._moments(indices)).data
        except ERRORS as error:
            raise UnreadableError(self._path, _first_line(error)) from error
        return kept(frames, cut)  # (T, H, W, 3); rotation flags are applied by torchcodec from 0.11 on

    def close(self) -> None:
        """Drop the decoder, which closes the file."""
        self._decoder = None

    def _moments(self, indices: Sequence[int]) -> list[float]:
        """The file's own seconds in the middle of each frame, out of reach of rounding to a neighbour."""
        ticks = np.append(self._table.ticks, self._table.ticks[-1] + 1.0)
        middles = (ticks[:-1] + ticks[1:]) / 2 * self._table.seconds_per_tick
        return [float(middles[index]) for index in indices]


@lru_cache(maxsize=1)
def unusable() -> str | None:
    """Return why torchcodec cannot be used here, or None: it must decode a rotated file as PyAV does."""
    try:
        _module()
    except (ImportError, RuntimeError, OSError) as error:
        return f"it does not import: {_first_line(error)}"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "probe.mp4")
        _write_probe(path)
        try:
            with TorchcodecVideo(path) as video, PyAVVideo(path) as reference:
                ours, theirs = reference.read([0, 2]).int(), video.read([0, 2]).int()
        except UnreadableError as error:
            return f"it cannot decode a test file: {error.reason}"
    if ours.shape != theirs.shape or (ours - theirs).abs().float().mean() > 4:
        return "it decodes a rotated test file differently; version 0.11 or later applies rotation"
    return None


def _module() -> Any:
    """Import the decoders on demand: the package is optional, and importing it loads system libraries."""
    return importlib.import_module("torchcodec.decoders")


def _write_probe(path: str) -> None:
    """Write three frames, a quarter turn to be undone: left half dark, right half bright."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, 24:] = 200
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(8))
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _first_line(error: Exception) -> str:
    """The first line of a message: torchcodec appends a page of loader traces."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
