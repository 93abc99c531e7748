"""Which packets of an H.264 stream the wanted frames do not depend on: what need not be decoded at all."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

SLICES = range(1, 6)  # types of NAL units that hold a picture (ITU-T H.264, table 7-1)
IDR = 5  # the type of those from which on nothing refers to an earlier picture
AVCC = 1  # first byte of the extra data where NAL units come with their lengths, as in mp4 and Matroska


class Needed:
    """Chooses packets of one stream, in decoding order, so that the wanted frames come out bit for bit.

    Two kinds are left out. First, pictures that no other refers to: ``nal_ref_idc`` is 0 (ITU-T H.264, 7.4.1), as it is
    for nearly half of the frames that x264 writes. Second, what follows the last wanted picture of a group, up to the
    next IDR picture, which refers to nothing before it. Nothing is left out after the last wanted frame.
    """

    def __init__(self, keys: Sequence[int], codec: VideoCodecContext) -> None:
        """Take the ticks of the key frames, increasing."""
        extra = codec.extradata or b""
        self._length = (extra[4] & 3) + 1 if codec.name == "h264" and extra[:1] == bytes([AVCC]) else 0
        self._keys = keys
        self._wanted: frozenset[int] = frozenset()
        self._unsent: set[int] = set()
        self._last: int | None = None
        self._trusted = True
        self._torn = False  # a picture that others may refer to was left out
        self.left_out: set[int] = set()
        """Ticks of the frames that were passed without being decoded, since the decoder was set to a place."""
        self.spent = False
        """The decoder gave out all it had after the last wanted frame: it must be set to a place before it goes on."""
        self.doubtful = False
        """Something was left out that is needed: a key frame turned out to be no IDR picture."""

    @property
    def complete(self) -> bool:
        """Whether all wanted frames were sent to the decoder, after others were left out."""
        return bool(self.left_out) and not self._unsent

    def want(self, ticks: Sequence[int]) -> None:
        """Choose for the frames at ``ticks`` from now on."""
        self._wanted = frozenset(ticks if self._length and self._trusted else ())
        self._last = max(self._wanted, default=None)
        self._unsent = set(self._wanted)

    def restart(self, target: int) -> None:
        """Take note that the decoder was set to a place before frame ``target``, the next that is wanted."""
        self._unsent = {tick for tick in self._wanted if tick >= target}
        self._torn = self.spent = False
        self.left_out.clear()

    def distrust(self) -> None:
        """Leave nothing out any more."""
        self._trusted = self.doubtful = False
        self.want([])

    def needs(self, packet: "Packet[VideoStream]") -> bool:
        """Whether to send ``packet`` to the decoder. Sets ``doubtful`` where an earlier answer was wrong."""
        tick = packet.pts
        if tick is None or self._last is None or tick > self._last or tick in self._wanted:
            self._unsent.discard(-1 if tick is None else tick)
            self._mend(packet)
            return True
        kinds = list(self._slices(packet))
        if all(kind >> 5 & 3 == 0 for kind in kinds) and kinds:
            self.left_out.add(tick)
            return False
        if self._unsent and self._next_key(tick) <= min(self._unsent):
            self._torn = True
            self.left_out.add(tick)
            return False
        self._mend(packet)
        return True

    def _mend(self, packet: "Packet[VideoStream]") -> None:
        """Go on after a gap, which only an IDR picture allows."""
        if self._torn:
            self.doubtful = not any(kind & 31 == IDR for kind in self._slices(packet))
            self._torn = False

    def _next_key(self, tick: int) -> float:
        """Return the tick of the first key frame after ``tick``."""
        place = bisect_right(self._keys, tick)
        return self._keys[place] if place < len(self._keys) else float("inf")

    def _slices(self, packet: "Packet[VideoStream]") -> Iterator[int]:
        """Yield the first byte of every NAL unit of a packet that holds a part of a picture."""
        content, start = memoryview(packet), 0
        while start + self._length < len(content):
            size = int.from_bytes(content[start : start + self._length], "big")
            kind = content[start + self._length]
            if kind & 31 in SLICES:
                yield kind
            start += self._length + size
