"""Write a clip anew for fast training reads: smaller frames, and key frames close together."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import PurePosixPath
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation
from PIL import Image
from torch import Tensor

from jepa.data.decode import Decoder, open_media
from jepa.data.entries import Entry, Modality
from jepa.data.locations import member_of
from jepa.data.sampling import frame_range
from jepa.data.signs import reading_file, sign_of_life
from jepa.data.sources import Source
from jepa.data.storage import read_bytes
from jepa.data.video import Times, UnreadableError, Video
from jepa.errors import DataError
from jepa.types import BadFile

CHUNK = 32  # frames at full size in memory at once
SLACK = 0.05  # of a frame's time: what rounding in a container may move a frame of a constant rate
TICKS = 90_000  # per second, where the rate is not constant
JPEG_QUALITY = 95
TUNE = "fastdecode"  # x264's: half the time to decode for a tenth more bytes


@dataclass(frozen=True, slots=True)
class Encoding:
    """How clips are written."""

    short_side: int = 256
    """Pixels of the shorter side; smaller frames stay as they are."""
    gop: int = 12
    """Frames from one key frame to the next: what has to be decoded before a wanted frame, at most.

    1 is read fastest: nothing but the wanted frames is decoded. At the same ``crf`` it looks worse.
    """
    crf: int = 23
    """H.264's quality; smaller is better, and larger in bytes."""
    copy: bool = False
    """Take files over as they are."""

    def to_dict(self) -> dict[str, int | bool | str]:
        """Return plain values, for a manifest: all that the bytes depend on."""
        return {**asdict(self), "tune": TUNE}


class Encoded(NamedTuple):
    """A clip that is ready to be written."""

    ending: str
    """Of its file's name, such as .mp4."""
    content: bytes


def encode(entry: Entry, modality: Modality, encoding: Encoding, *, decoder: Decoder) -> Encoded:
    """Return the clip of an entry. Raises UnreadableError where any of its frames cannot be decoded."""
    if encoding.copy:
        return _copy(entry, modality, decoder)
    with open_media(entry.path, modality, decoder) as video:
        if modality == "image":
            return Encoded(".jpg", _jpeg(video.read([0])[0], encoding.short_side))
        try:
            first, last = frame_range(video.info.frames, start=entry.start, end=entry.end)
        except ValueError as error:
            raise UnreadableError(entry.path, str(error)) from error
        return Encoded(".mp4", _h264(video, first, last, encoding))


def _copy(entry: Entry, modality: Modality, decoder: Decoder) -> Encoded:
    """Take a file's bytes, after a look at its first frame."""
    if entry.start or entry.end is not None:
        raise DataError(
            f"{entry.path}: a part of a file (frames {entry.start} to {entry.end}) cannot be copied — leave --copy away"
        )
    with open_media(entry.path, modality, decoder) as video:
        video.read([0])
    member = member_of(entry.path)
    name = entry.path if member is None else member.name
    return Encoded(PurePosixPath(name).suffix.lower(), read_bytes(entry.path))


def _h264(video: Video, first: int, last: int, encoding: Encoding) -> bytes:
    """Encode frames ``first`` to ``last`` - 1 as mp4, each shown as long as it was."""
    times = video.times[first:last] - video.times[first]
    rate = _constant_rate(times, video.info.fps)
    out = BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate or Fraction(round(video.info.fps * 1000), 1000))
        stream.pix_fmt = "yuv420p"
        # One thread: the processes encode side by side, and the bytes are the same each time.
        stream.options = {
            "g": str(encoding.gop),
            "crf": str(encoding.crf),
            "tune": TUNE,
            "threads": "1",
        }
        unit = Fraction(1, TICKS) if rate is None else 1 / rate
        stream.codec_context.time_base = stream.time_base = unit
        for number, frame in enumerate(_frames(video, first, last)):
            if number == 0:
                stream.height, stream.width = _even_size(frame.shape[0], frame.shape[1], encoding.short_side)
            picture = av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24").reformat(
                width=stream.width, height=stream.height, format="yuv420p", interpolation=Interpolation.AREA
            )
            picture.pts = number if rate else round(float(times[number]) * TICKS)
            picture.time_base = unit
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return out.getvalue()


def _frames(video: Video, first: int, last: int) -> Iterator[Tensor]:
    """Decode frame after frame, (H, W, 3) uint8, a few at a time."""
    for begin in range(first, last, CHUNK):
        sign_of_life()
        yield from video.read(range(begin, min(begin + CHUNK, last)))


def _constant_rate(times: Times, fps: float) -> Fraction | None:
    """Return frames per second where they are all shown for the same time, but for rounding, else None.

    >>> _constant_rate(np.array([0, 0.033, 0.067, 0.1]), 30.0)
    Fraction(30, 1)
    """
    rate = Fraction(fps).limit_denominator(1001)
    regular = rate > 0 and bool(np.abs(times * float(rate) - np.arange(len(times))).max() < SLACK)
    return rate if regular else None


def _even_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the size to write: H.264 halves its colours, so both sides are even."""
    scale = min(1.0, short_side / min(height, width))
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _jpeg(frame: Tensor, short_side: int) -> bytes:
    """Encode one frame (H, W, 3) uint8."""
    picture = Image.fromarray(frame.numpy())
    scale = min(1.0, short_side / min(picture.size))
    if scale < 1:
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
    out = BytesIO()
    picture.save(out, format="JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


class Encoder:
    """Encodes the entries of sources, in whichever process (see `jepa.data.surviving.Results`)."""

    def __init__(self, sources: Sequence[Source], encoding: Encoding, *, decoder: Decoder) -> None:
        self._sources, self._encoding, self._decoder = sources, encoding, decoder
        self._avoided: dict[str, str] = {}
        self._ends = np.cumsum([len(source.entries) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def find(self, number: int) -> tuple[Source, Entry]:
        """Return an entry by its place among those of all sources, and its source."""
        place = int(np.searchsorted(self._ends, number, side="right"))
        source = self._sources[place]
        return source, source.entries[number - int(self._ends[place])]

    def avoid(self, path: str, reason: str) -> None:
        """Take a file for one that cannot be read."""
        self._avoided[path] = reason

    def __getitem__(self, number: int) -> Encoded | BadFile | DataError:
        """Return the clip of an entry."""
        source, entry = self.find(number)
        if entry.path in self._avoided:
            return BadFile(entry.path, self._avoided[entry.path])
        try:
            with reading_file(entry.path):
                return encode(entry, source.modality, self._encoding, decoder=self._decoder)
        except UnreadableError as error:
            return BadFile(error.path, error.reason)
        except DataError as error:
            return error
