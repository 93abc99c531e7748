"""Before a run: every file of a list is there and, where that is asked for, inside one folder."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jepa.data.entries import Columns
from jepa.data.locations import is_url
from jepa.errors import DataError

SHOWN = 10  # files named in a message


@dataclass(frozen=True, slots=True)
class Confine:
    """A folder that nothing which is read may lie outside of, wherever links and ``..`` lead."""

    root: Path
    """Without links."""

    @classmethod
    def to(cls, folder: str | None) -> "Confine | None":
        """Return the rule of ``data.confine``. Raises DataError when that folder does not exist."""
        if folder is None:
            return None
        if not os.path.isdir(folder):
            raise DataError(f"data.confine: {folder} is not an existing folder — give one, or leave it away")
        return cls(Path(os.path.realpath(folder)))

    def holds(self, path: str) -> bool:
        """Whether ``path`` lies inside, after all links. URLs do not."""
        return not is_url(path) and Path(os.path.realpath(path)).is_relative_to(self.root)

    def check(self, name: str, paths: Sequence[str]) -> None:
        """Raise DataError that names the first of ``paths`` that lie outside."""
        self.refuse(name, [path for path in paths if not self.holds(path)])

    def refuse(self, name: str, outside: Sequence[str]) -> None:
        """Raise DataError where anything is ``outside``."""
        if outside:
            raise DataError(
                f"{name}: {len(outside)} paths lie outside data.confine = {self.root} (after links and '..'; URLs "
                f"always do):\n  {_first(outside)} — move the files there, or leave data.confine away"
            )


def check_files(name: str, columns: Columns, confine: Confine | None = None) -> None:
    """Raise DataError when files of a list are not there, or lie outside ``confine``.

    Lists each folder once instead of asking for every file. URLs are not asked for: what cannot be read counts as
    bad when its turn comes.
    """
    missing: list[str] = []
    outside: list[str] = []
    hashes = _hashes(columns.names)
    for folder, lines in _by_folder(columns):
        if is_url(folder):
            outside += [columns.path(int(line)) for line in lines] if confine else []
            continue
        present, links = _contents(folder)
        wanted = hashes[lines]
        absent = lines[~np.isin(wanted, present)]
        missing += [columns.path(int(line)) for line in absent]
        if confine is not None:
            within = confine.holds(folder or ".")
            suspects = lines[np.isin(wanted, links)] if within else lines
            paths = [columns.path(int(line)) for line in suspects]
            outside += [path for path in paths if not within or not confine.holds(path)]
    if confine is not None:
        confine.refuse(name, sorted(set(outside)))
    if missing:
        different = sorted(set(missing))
        raise DataError(
            f"{name}: {len(different)} of {count_files(columns)} files are missing (relative paths start at the "
            f"list's own folder):\n  {_first(different)}"
        )


def count_files(columns: Columns) -> int:
    """Return the number of different files."""
    names = _hashes(columns.names).astype(np.uint64)
    return len(
        np.unique(names * np.uint64(31) + columns.folder.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    )


def _by_folder(columns: Columns) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield every folder with the lines of the files in it."""
    order = np.argsort(columns.folder, kind="stable")
    bounds = np.searchsorted(columns.folder[order], np.arange(len(columns.folders) + 1))
    for number, folder in enumerate(columns.folders):
        yield folder, order[bounds[number] : bounds[number + 1]]


def _contents(folder: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the hashes of the names in a folder, and of those that are links; none where it is no folder."""
    links: list[int] = []

    def hashes() -> Iterator[int]:
        with os.scandir(folder or ".") as found:
            for one in found:
                if one.is_symlink():
                    links.append(hash(one.name))
                yield hash(one.name)

    if not os.path.isdir(folder or "."):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.fromiter(hashes(), np.int64), np.array(links, np.int64)


def _hashes(names: Iterable[str]) -> NDArray[np.int64]:
    """Return 64 bits for each name, an eighth of what a set of a million names would hold."""
    return np.fromiter(map(hash, names), np.int64)


def _first(paths: Sequence[str]) -> str:
    """Return the first paths, one per line, and how many more there are."""
    more = f"\n  and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return "\n  ".join(paths[:SHOWN]) + more
