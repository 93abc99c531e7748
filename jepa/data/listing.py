"""Read a list of videos: CSV with or without a header, or space-separated ``path label`` lines."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jepa.errors import DataError

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
SHOWN = 10  # bad lines named in a message


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list."""

    path: str
    label: str | None = None
    start: int = 0
    end: int | None = None
    targets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list or a folder names."""

    rows: tuple[Row, ...]
    labels: frozenset[str]
    """All labels, those of other splits too: every split of one file numbers its classes alike."""


def read_list(path: Path, *, split: str | None = None, targets: Sequence[str] = ()) -> Listing:
    """Read a list file; relative paths in it are taken from its own folder.

    A CSV line is ``path,label[,start,end]`` or what a header names (see `COLUMNS`): ``start`` and ``end`` are
    frame numbers, ``end`` is not used any more, empty means the whole video. Any other line is ``path label``
    with an integer label, or a path alone. Paths may hold spaces. With ``split``, only rows of that split are
    kept. ``targets`` are columns of numbers.

    Raises DataError that names every line that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list cannot be read: {error}") from error
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise DataError(f"{path}: the list is empty — give one video per line, as path,label or path label")
    table = _spaced(lines) if "," not in first or SPACED.fullmatch(first) else _separated(lines)
    header = _header(table[0][1])
    names = [] if header is None else table[0][1]
    if unknown := [name for name in targets if name not in names]:
        raise DataError(f"{path}: there is no column {unknown[0]!r}; the header names {names or 'nothing'}")
    places = [names.index(name) for name in targets]
    if header is None:
        return _rows(path, table, POSITIONS, split, places)
    return _rows(path, table[1:], header, split, places)


Table = list[tuple[int, list[str]]]  # line number and cells


def _spaced(lines: Sequence[str]) -> Table:
    """Split ``path label`` lines: the last word is the label where it is an integer and not all there is."""
    table = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            match = SPACED.fullmatch(line.strip())
            table.append((number, [match["path"], match["label"]] if match else [line.strip()]))
    return table


def _separated(lines: Sequence[str]) -> Table:
    """Split CSV lines."""
    reader = csv.reader(lines, skipinitialspace=True)
    return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]


def _header(cells: Sequence[str]) -> dict[str, int] | None:
    """Return where each column is, or None for a line that names no path column and so is no header."""
    places: dict[str, int] = {}
    for place, cell in enumerate(cells):
        for column, names in COLUMNS.items():
            if cell.lower() in names:
                places.setdefault(column, place)
    return places if "path" in places else None


def _rows(
    path: Path, table: Table, columns: Mapping[str, int], split: str | None, targets: Sequence[int]
) -> Listing:
    """Turn cells into rows."""
    if split is not None and "split" not in columns:
        raise DataError(
            f"{path}: split {split!r} is asked for, but the list has no header with a 'split' column"
        )
    rows: list[Row] = []
    labels: set[str] = set()
    splits: set[str] = set()
    problems: list[str] = []
    for number, cells in table:
        values = {
            column: cells[place] for column, place in columns.items() if place < len(cells) and cells[place]
        }
        labels.update({values["label"]} if "label" in values else ())
        splits.add(values.get("split", ""))
        try:
            row = _row(path.parent, values, [cells[place] if place < len(cells) else "" for place in targets])
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        if split is None or values.get("split") == split:
            rows.append(row)
    if problems:
        more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(
            f"{path}: {len(problems)} lines cannot be used:\n  " + "\n  ".join(problems[:SHOWN]) + more
        )
    if not rows:
        choice = f" of split {split!r}; its splits are {sorted(splits)}" if split is not None else ""
        raise DataError(f"{path}: the list names no video{choice}")
    if len({row.label is None for row in rows}) > 1:
        missing = sum(row.label is None for row in rows)
        raise DataError(
            f"{path}: {missing} of {len(rows)} rows have no label — give all rows a label, or none"
        )
    return Listing(tuple(rows), frozenset(labels))


def _row(folder: Path, values: Mapping[str, str], targets: Sequence[str]) -> Row:
    """Check one line. Raises ValueError with what is wrong."""
    if "path" not in values:
        raise ValueError("the path is missing")
    start, end = _frame(values, "start"), _frame(values, "end")
    if end is not None and end <= (start or 0):
        raise ValueError(f"end {end} must be greater than start {start or 0}")
    numbers = tuple(_number(text) for text in targets)
    return Row(str(folder / values["path"]), values.get("label"), start or 0, end, numbers)


def _number(text: str) -> float:
    """Read a target."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"a target must be a finite number, got {text!r}")
    return value


def _frame(values: Mapping[str, str], column: str) -> int | None:
    """Read a frame number."""
    text = values.get(column)
    if text is None:
        return None
    if not text.isdecimal():
        raise ValueError(f"{column} must be a frame number (0, 1, 2, ...), got {text!r}")
    return int(text)
