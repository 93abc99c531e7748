"""What opening a source gives, and how its files are found."""

from dataclasses import dataclass, field
from pathlib import Path

from jepa.errors import DataError
from jepa.types import BadFile, Trajectory


@dataclass(frozen=True, slots=True)
class Opened:
    """The episodes of one source, in an order that does not change, and what could not be had."""

    episodes: tuple[Trajectory, ...]
    """Their names are unique within the source and do not depend on where it lies."""
    bad: tuple[BadFile, ...] = field(default=())
    """Files that are there and cannot be read."""
    missing: tuple[BadFile, ...] = field(default=())
    """Files that the source's own index names and that are not there."""


def episode_files(folder: Path, pattern: str, *, limit: int | None) -> list[Path]:
    """Return the files below ``folder`` that match, sorted, at most ``limit``.

    Raises DataError for a folder that is not there, or that holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: this folder does not exist — give the folder of the episodes")
    files = sorted(folder.glob(pattern))
    if not files:
        raise DataError(f"{folder}: no episode found — its files must match {pattern}")
    return files[:limit]
