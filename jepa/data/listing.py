"""Read a list of videos: CSV with or without a header, or space-separated ``path label`` lines."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from jepa.data.entries import ColumnsBuilder, Row, Rows
from jepa.data.locations import URL, local
from jepa.errors import DataError

__all__ = ["Listing", "Row", "read_list"]

COLUMNS: Mapping[str, frozenset[str]] = {
    "path": frozenset({"path", "video", "video_path", "file", "filename", "image"}),
    "label": frozenset({"label", "class"}),
    "start": frozenset({"start", "start_frame"}),
    "end": frozenset({"end", "end_frame"}),
    "split": frozenset({"split"}),
}
"""The header names of each column; other columns are ignored."""

POSITIONS: Mapping[str, int] = {"path": 0, "label": 1, "start": 2, "end": 3}
"""Columns of a CSV without a header."""

SPACED = re.compile(r"(?P<path>.*\S)[ \t]+(?P<label>-?\d+)")
UNTIDY = re.compile(
    r"^/|//|/$|(?:^|/)\.(?:/|$)"
)  # what pathlib must see; the rest of a path it leaves as it is
SHOWN = 10  # bad lines named in a message
LONGEST_NUMBER = 15  # digits of a frame number


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list or a folder names."""

    rows: Rows
    labels: frozenset[str]
    """All labels, those of other splits too: every split of one file numbers its classes alike."""


def read_list(path: Path, *, split: str | None = None, targets: Sequence[str] = ()) -> Listing:
    """Read a list file; relative paths in it are taken from its own folder.

    A CSV line is ``path,label[,start,end]`` or what a header names (see `COLUMNS`): ``start`` and ``end`` are
    frame numbers, ``end`` is not used any more, empty means the whole video. Any other line is ``path label``
    with an integer label, or a path alone. Paths may hold spaces, and may be URLs. With ``split``, only rows of
    that split are kept. ``targets`` are columns of numbers. Line after line goes into columns, so that a list of
    millions fits into memory.

    Raises DataError that names every line that cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(path, file, split, targets)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: the list cannot be read: {error}") from error


def _read(path: Path, file: TextIO, split: str | None, targets: Sequence[str]) -> Listing:
    """Choose how lines are split, and read the header where there is one."""
    first = next((line for line in file if line.strip()), None)
    if first is None:
        raise DataError(f"{path}: the list is empty — give one video per line, as path,label or path label")
    file.seek(0)
    is_spaced = "," not in first or SPACED.fullmatch(first.strip()) is not None
    table = _spaced(file) if is_spaced else _separated(file)
    number, cells = next(table)
    header = _header(cells)
    names = [] if header is None else cells
    if unknown := [name for name in targets if name not in names]:
        raise DataError(f"{path}: there is no column {unknown[0]!r}; the header names {names or 'nothing'}")
    if split is not None and "split" not in (header or {}):
        raise DataError(
            f"{path}: split {split!r} is asked for, but the list has no header with a 'split' column"
        )
    reader = _RowReader(path, header or POSITIONS, [names.index(name) for name in targets], split)
    if header is None:
        reader.add(number, cells)
    for number, cells in table:
        reader.add(number, cells)
    return reader.listing()


Table = Iterator[tuple[int, list[str]]]  # line number and cells


def _spaced(lines: TextIO) -> Table:
    """Split ``path label`` lines: the last word is the label where it is an integer and not all there is."""
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            match = SPACED.fullmatch(text)
            yield number, [match["path"], match["label"]] if match else [text]


def _separated(lines: TextIO) -> Table:
    """Split CSV lines."""
    reader = csv.reader(lines, skipinitialspace=True)
    return ((reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells))


def _header(cells: Sequence[str]) -> dict[str, int] | None:
    """Return where each column is, or None for a line that names no path column and so is no header."""
    places: dict[str, int] = {}
    for place, cell in enumerate(cells):
        for column, names in COLUMNS.items():
            if cell.lower() in names:
                places.setdefault(column, place)
    return places if "path" in places else None


class _RowReader:
    """Turns cells into rows, one line after the other."""

    def __init__(
        self, path: Path, columns: Mapping[str, int], targets: Sequence[int], split: str | None
    ) -> None:
        self._path, self._split, self._targets = path, split, targets
        self._prefix = str(path.parent / "_")[:-1]
        absent = -1
        self._places = [columns[name] if name in columns else absent for name in COLUMNS]
        self._rows = ColumnsBuilder(len(targets))
        self._labels: set[str] = set()
        self._splits: set[str] = set()
        self._problems: list[str] = []  # the first ones
        self._problem_count = 0

    def add(self, number: int, cells: Sequence[str]) -> None:
        """Read one line, or note what is wrong with it."""
        width = len(cells)
        path, label, start, end, split = (
            cells[place] if 0 <= place < width else "" for place in self._places
        )
        if label:
            self._labels.add(label)
        self._splits.add(split)
        try:
            first, last = _bounds(start, end)
            if not path:
                raise ValueError("the path is missing")
            targets = [_number(cells[place] if place < width else "") for place in self._targets]
        except ValueError as error:
            self._problem_count += 1
            if len(self._problems) < SHOWN:
                self._problems.append(f"line {number}: {error}")
            return
        if self._split is None or split == self._split:
            self._rows.append(
                _resolved(self._path.parent, self._prefix, path), label or None, first, last, targets
            )

    def listing(self) -> Listing:
        """Return all rows. Raises DataError for what is wrong with them."""
        if self._problems:
            more = self._problem_count - SHOWN
            raise DataError(
                f"{self._path}: {self._problem_count} lines cannot be used:\n  "
                + "\n  ".join(self._problems)
                + (f"\n  and {more} more" if more > 0 else "")
            )
        if not len(self._rows):
            choice = "" if self._split is None else f" of split {self._split!r}"
            known = "" if self._split is None else f"; its splits are {sorted(self._splits)}"
            raise DataError(f"{self._path}: the list names no video{choice}{known}")
        columns = self._rows.build()
        missing = int(np.count_nonzero(columns.cell < 0))
        if 0 < missing < len(columns):
            raise DataError(
                f"{self._path}: {missing} of {len(columns)} rows have no label — give all rows a label, or none"
            )
        return Listing(Rows(columns), frozenset(self._labels))


def _resolved(folder: Path, prefix: str, path: str) -> str:
    """Return ``path`` seen from ``folder``, without needless dots and slashes; ``..`` stays."""
    if UNTIDY.search(path) is None:
        return prefix + path
    path = local(path)
    return path if URL.match(path) else str(folder / path)


def _bounds(start: str, end: str) -> tuple[int, int | None]:
    """Read the frames between which a row lies. Raises ValueError with what is wrong."""
    first = _frame("start", start) if start else 0
    last = _frame("end", end) if end else None
    if last is not None and last <= first:
        raise ValueError(f"end {last} must be greater than start {first}")
    return first, last


def _number(text: str) -> float:
    """Read a target."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"a target must be a finite number, got {text!r}")
    return value


def _frame(column: str, text: str) -> int:
    """Read a frame number."""
    if not text.isdecimal() or len(text) > LONGEST_NUMBER:
        raise ValueError(f"{column} must be a frame number (0, 1, 2, ...), got {text!r}")
    return int(text)
