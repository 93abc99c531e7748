"""Millions of strings in two flat arrays: no object for each, nothing that a forked process would copy by reading."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

CHUNK = 4096  # strings that are taken out at once in passing over all of them
FOREIGN = "surrogateescape"  # file names need not be UTF-8


class Strings(Sequence[str]):
    """Immutable strings, kept as one buffer of UTF-8 and where each of them ends."""

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        """Take what `StringsBuilder.build` made: (bytes,) and (strings,)."""
        self._data, self._ends = data, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        """Decode one string, or several."""
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = range(len(self))[index]  # counts from the end, and raises, as a tuple does
        begin = int(self._ends[place - 1]) if place else 0
        return self._data[begin : int(self._ends[place])].tobytes().decode(errors=FOREIGN)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), CHUNK):
            begin = int(self._ends[first - 1]) if first else 0
            ends = (self._ends[first : first + CHUNK] - begin).tolist()
            text = self._data[begin : begin + ends[-1]].tobytes()
            for start, end in zip([0, *ends], ends, strict=False):
                yield text[start:end].decode(errors=FOREIGN)


class StringsBuilder:
    """Collects strings."""

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._data, self._ends = bytearray(), array("q")
        for text in strings:
            self.append(text)

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, text: str) -> None:
        """Add one string."""
        self._data += text.encode(errors=FOREIGN)
        self._ends.append(len(self._data))

    def build(self) -> Strings:
        """Return the strings so far."""
        return Strings(np.frombuffer(bytes(self._data), np.uint8), np.array(self._ends, np.int64))


class Coder:
    """Numbers the different strings it is shown, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of ``text``, a new one where it was never seen."""
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def names(self) -> tuple[str, ...]:
        """The strings, in the order of their numbers."""
        return tuple(self._numbers)
