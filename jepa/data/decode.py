"""Open a video or an image with the chosen back end, and bound the time that reading it may take."""

import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from types import TracebackType
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from jepa.data import torchcodec
from jepa.data.entries import Modality
from jepa.data.locations import is_url, member_of
from jepa.data.pyav import PyAVVideo
from jepa.data.storage import read_bytes
from jepa.data.torchcodec import TorchcodecVideo
from jepa.data.video import (
    Closing,
    Cut,
    DecodeTimeoutError,
    Times,
    UnreadableError,
    Video,
    VideoInfo,
    check_range,
    kept,
)
from jepa.errors import DataError

Decoder = Literal["auto", "pyav", "torchcodec"]
Result = TypeVar("Result")


def resolve_decoder(decoder: Decoder) -> Literal["pyav", "torchcodec"]:
    """Return the back end that ``decoder`` means on this machine; ``auto`` is torchcodec where it works.

    Raises DataError when torchcodec is asked for by name and cannot be used.
    """
    if decoder == "pyav":
        return "pyav"
    problem = torchcodec.unusable()
    if problem is None:
        return "torchcodec"
    if decoder == "torchcodec":
        raise DataError(
            f"data.decoder: torchcodec cannot be used: {problem} — install torchcodec and the FFmpeg "
            "libraries it needs, or set data.decoder to 'auto' or 'pyav'"
        )
    return "pyav"


def open_video(path: str, decoder: Decoder = "auto") -> Video:
    """Open ``path`` for reading; use it as a context manager. Raises UnreadableError with the reason."""
    return TorchcodecVideo(path) if resolve_decoder(decoder) == "torchcodec" else PyAVVideo(path)


class ImageFile(Closing):
    """An image as a video of one frame, turned upright by its EXIF flag."""

    def __init__(self, path: str) -> None:
        content = path if not is_url(path) and member_of(path) is None else BytesIO(read_bytes(path))
        try:
            with Image.open(content) as image:
                codec = (image.format or "image").lower()
                upright = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UnreadableError(path, str(error) or type(error).__name__) from error
        self._frame = torch.from_numpy(np.array(upright))  # (H, W, 3)
        height, width = self._frame.shape[:2]
        self._info = VideoInfo(frames=1, fps=1.0, duration_s=1.0, height=height, width=width, codec=codec)

    @property
    def info(self) -> VideoInfo:
        """Counts, rates, and sizes."""
        return self._info

    @property
    def times(self) -> Times:
        """One frame, at 0 s."""
        return np.zeros(1)

    def read(self, indices: Sequence[int], cut: Cut | None = None) -> Tensor:
        """Return the image, or what is kept of it, once per index (see `Video.read`)."""
        check_range(indices, 1)
        frames = self._frame.expand(len(indices), -1, -1, -1)
        return kept(frames, cut)


def open_media(path: str, modality: Modality, decoder: Decoder) -> Video:
    """Open a video, or an image as a video of one frame. Raises UnreadableError with the reason."""
    return ImageFile(path) if modality == "image" else open_video(path, decoder)


def bounded(work: Callable[[], Result], *, seconds: float, path: str) -> Result:
    """Return ``work()``, or raise DecodeTimeoutError when it takes longer than ``seconds``.

    Works in any process and thread. What hangs cannot be killed: it is left behind in a daemon thread.
    """
    handover = _Handover()
    outcome: list[Result] = []

    def run() -> None:
        with handover:
            outcome.append(work())

    thread = threading.Thread(target=run, name=f"decode {path}", daemon=True)
    thread.start()
    thread.join(seconds)
    if handover.error is not None:
        raise handover.error
    if not outcome:
        raise DecodeTimeoutError(path, f"decoding took longer than data.decode_timeout_s = {seconds:g} s")
    return outcome[0]


class _Handover:
    """Keeps the error that ends its block, so that another thread can raise it."""

    error: BaseException | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True
