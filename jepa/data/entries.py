"""What a source holds, one line per clip: columns of plain numbers and text, from which an entry is made on demand."""

from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from jepa.data.columns import Coder, Strings, StringsBuilder

Modality = Literal["video", "image"]
Line_co = TypeVar("Line_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    path: str
    label: str | None = None
    start: int = 0
    end: int | None = None
    targets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a part of one."""

    path: str
    """A local file, a URL, or a member of a tar shard (see `jepa.data.storage`)."""
    label: int | None = None
    """Index into the source's `classes`."""
    start: int = 0
    """First frame that may be used."""
    end: int | None = None
    """One past the last frame that may be used; None is the end of the file."""
    labels: tuple[int, ...] = ()
    """Indices into the source's `classes`, where an entry has several labels at once."""
    targets: tuple[float, ...] = ()
    """Numbers to predict, one per name in the source's `targets`."""


class Numbered(Protocol):
    """What the labels in one cell of a list mean as numbers of classes."""

    def __call__(self, cell: str) -> tuple[int | None, tuple[int, ...]]:
        """Return `Entry.label` and `Entry.labels`."""
        ...


@dataclass(frozen=True, slots=True)
class Columns:
    """All lines of a list, about 45 bytes for each beside the name of its file."""

    folders: Strings
    folder: NDArray[
        np.int32
    ]  # (lines,) places in ``folders``; what comes before the last slash, and the slash
    names: Strings  # (lines,) what comes after it
    cells: tuple[str, ...]
    """The different labels, as they stand in the list."""
    cell: NDArray[np.int32]  # (lines,) places in ``cells``, -1 for no label
    start: NDArray[np.int64]  # (lines,)
    end: NDArray[np.int64]  # (lines,) -1 for the end of the file
    targets: NDArray[np.float64]  # (lines, K)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, line: int) -> str:
        """Return the path of a line."""
        return self.folders[int(self.folder[line])] + self.names[line]

    def part(self, line: int) -> tuple[int, int | None]:
        """Return the first frame, and the one past the last, of a line."""
        end = int(self.end[line])
        return int(self.start[line]), None if end < 0 else end


class _Lines(Sequence[Line_co], Generic[Line_co]):
    """Lines that are made of their columns when they are asked for."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns)

    @overload
    def __getitem__(self, index: int) -> Line_co: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Line_co, ...]: ...
    def __getitem__(self, index: int | slice) -> Line_co | tuple[Line_co, ...]:
        """Make one line, or several."""
        if isinstance(index, slice):
            return tuple(self._line(place) for place in range(*index.indices(len(self))))
        return self._line(range(len(self))[index])  # counts from the end, and raises, as a tuple does

    def __iter__(self) -> Iterator[Line_co]:
        return map(self._line, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def paths(self) -> Iterator[str]:
        """Return the path of every line."""
        return map(self.columns.path, range(len(self)))

    @abstractmethod
    def _line(self, place: int) -> Line_co:
        """Make the line at a place, which is in range."""


class Rows(_Lines[Row]):
    """The lines of a list."""

    def _line(self, place: int) -> Row:
        columns, cell = self.columns, int(self.columns.cell[place])
        label = None if cell < 0 else columns.cells[cell]
        targets = tuple(columns.targets[place].tolist())
        return Row(columns.path(place), label, *columns.part(place), targets)


class Entries(_Lines[Entry]):
    """The entries of a source: its lines, their labels numbered by ``numbered``, which is asked once per label."""

    def __init__(self, columns: Columns, numbered: Numbered) -> None:
        super().__init__(columns)
        self._labels = [numbered(cell) for cell in columns.cells]

    def _line(self, place: int) -> Entry:
        columns, cell = self.columns, int(self.columns.cell[place])
        label, labels = (None, ()) if cell < 0 else self._labels[cell]
        start, end = columns.part(place)
        return Entry(columns.path(place), label, start, end, labels, tuple(columns.targets[place].tolist()))


class ColumnsBuilder:
    """Collects lines."""

    def __init__(self, targets: int = 0) -> None:
        """Make lines with so many ``targets``."""
        self._width = targets
        self._folders, self._cells, self._names = Coder(), Coder(), StringsBuilder()
        self._folder, self._cell = array("i"), array("i")
        self._start, self._end, self._targets = array("q"), array("q"), array("d")

    def __len__(self) -> int:
        return len(self._folder)

    def append(
        self,
        path: str,
        label: str | None = None,
        start: int = 0,
        end: int | None = None,
        targets: Sequence[float] = (),
    ) -> None:
        """Add one line."""
        cut = path.rfind("/") + 1
        self._folder.append(self._folders.number(path[:cut]))
        self._names.append(path[cut:])
        self._cell.append(-1 if label is None else self._cells.number(label))
        self._start.append(start)
        self._end.append(-1 if end is None else end)
        self._targets.extend(targets)

    def build(self) -> Columns:
        """Return the lines so far."""
        return Columns(
            folders=StringsBuilder(self._folders.names).build(),
            folder=np.array(self._folder, np.int32),
            names=self._names.build(),
            cells=self._cells.names,
            cell=np.array(self._cell, np.int32),
            start=np.array(self._start, np.int64),
            end=np.array(self._end, np.int64),
            targets=np.array(self._targets, np.float64).reshape(len(self), self._width),
        )
