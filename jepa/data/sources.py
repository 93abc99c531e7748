"""Where clips come from: folders, lists, images, and generated videos, all brought to lists of entries."""

import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jepa.config.data import FileSource, PhysicsSource, SyntheticSource
from jepa.data.generated import ensure_generated
from jepa.data.listing import Listing, Row, read_list
from jepa.errors import DataError

Modality = Literal["video", "image"]

VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".wmv",
    ".flv",
    ".3gp",
)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
SHOWN = 10  # missing files named in a message
LARGEST_CLASS = 100_000  # integer labels above this are taken for names, not for numbers of classes


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, or a part of one."""

    path: str
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


@dataclass(frozen=True, slots=True)
class Source:
    """Entries of one kind, all of whose files exist."""

    name: str
    modality: Modality
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    """Names of the labels; empty where the source has none."""
    weight: float = 1.0
    targets: tuple[str, ...] = ()
    """Names of the numbers to predict."""

    @property
    def files(self) -> int:
        """Number of different files."""
        return len({entry.path for entry in self.entries})


def open_sources(configs: Sequence[FileSource | SyntheticSource | PhysicsSource]) -> tuple[Source, ...]:
    """Read every list and folder, and generate what is to be generated.

    Raises one DataError that names all problems of all sources, missing files among them.
    """
    sources, problems = [], []
    for config in configs:
        try:
            sources.append(open_source(config))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return tuple(sources)


def open_source(
    config: FileSource | SyntheticSource | PhysicsSource, *, classes: Sequence[str] | None = None
) -> Source:
    """Read one source. With ``classes``, labels index into them: give a test list those of its training list.

    Raises DataError for a path that is not there, a list that cannot be read, missing files, and a label
    outside ``classes``.
    """
    modality: Modality = "image" if config.kind == "images" else "video"
    separator: str | None = None
    targets: tuple[str, ...] = ()
    if isinstance(config, SyntheticSource | PhysicsSource):
        listing = read_list(ensure_generated(config))
    else:
        separator, targets = config.separator, config.targets
        listing = _listing(config, modality)
    found = {part for label in listing.labels for part in _split(label, separator)}
    names = tuple(classes) if classes is not None else _classes(frozenset(found))
    entries = _entries(config.path, listing.rows, names, separator)
    return Source(config.path, modality, entries, names, config.weight, targets)


def _listing(config: FileSource, modality: Modality) -> Listing:
    """Read a list, or walk through a folder."""
    path = Path(config.path)
    if config.kind == "csv" or (config.kind == "images" and path.is_file()):
        listing = read_list(path, split=config.split, targets=config.targets)
        _refuse_missing(config.path, {row.path for row in listing.rows})
        return listing
    return _walk(path, modality)


def _split(label: str, separator: str | None) -> list[str]:
    """Return the labels in one cell."""
    return [label] if separator is None else [part.strip() for part in label.split(separator) if part.strip()]


def _entries(
    name: str, rows: Sequence[Row], classes: Sequence[str], separator: str | None
) -> tuple[Entry, ...]:
    """Number the labels of ``rows``. Raises DataError for a label that is not among ``classes``."""
    number = {label: index for index, label in enumerate(classes)}
    labels = [() if row.label is None else _split(row.label, separator) for row in rows]
    unknown = sorted({label for several in labels for label in several if label not in number})
    if unknown and classes:
        raise DataError(
            f"{name}: labels {unknown[:SHOWN]} are not among the {len(classes)} known classes "
            f"({', '.join(classes[:SHOWN])}) — use the same class names in all lists of a task"
        )
    numbered = [tuple(number[label] for label in several if label in number) for several in labels]
    return tuple(
        Entry(
            row.path,
            several[0] if several and separator is None else None,
            row.start,
            row.end,
            several if separator is not None else (),
            row.targets,
        )
        for row, several in zip(rows, numbered, strict=True)
    )


def _classes(labels: frozenset[str]) -> tuple[str, ...]:
    """Class names in the order of their numbers: 0 to the largest for integer labels, else sorted."""
    if labels and all(_is_class_number(label) for label in labels):
        return tuple(str(number) for number in range(max(map(int, labels)) + 1))
    return tuple(sorted(labels))


def _is_class_number(label: str) -> bool:
    """Whether a label is an integer as it would be printed, so that reading it as one loses nothing."""
    return label.isdecimal() and str(int(label)) == label and int(label) < LARGEST_CLASS


def _walk(folder: Path, modality: Modality) -> Listing:
    """List the videos or images under ``folder``, sorted and labelled by their topmost sub-folder.

    Where some lie directly in ``folder``, none is labelled. Hidden files and folders are skipped.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: this folder does not exist — sources of videos or images in a tree need a folder"
        )
    suffixes = VIDEO_SUFFIXES if modality == "video" else IMAGE_SUFFIXES
    files = [file for file in _files(folder) if file.suffix.lower() in suffixes]
    if not files:
        raise DataError(f"{folder}: no {modality} found — files must end in one of {' '.join(suffixes)}")
    tops = [file.relative_to(folder).parts for file in files]
    flat = any(len(parts) == 1 for parts in tops)
    rows = tuple(Row(str(file), None if flat else parts[0]) for file, parts in zip(files, tops, strict=True))
    return Listing(rows, frozenset(row.label for row in rows if row.label is not None))


def _files(folder: Path) -> Iterator[Path]:
    """All files below ``folder`` in a fixed order, through links to folders, each folder once."""
    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def _refuse_missing(name: str, paths: Set[str]) -> None:
    """Raise DataError when files of a list are not there. Lists folders instead of asking for every file."""
    folders = {os.path.dirname(path) for path in paths}
    present = {
        folder: frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset() for folder in folders
    }
    missing = sorted(path for path in paths if os.path.basename(path) not in present[os.path.dirname(path)])
    if missing:
        more = f"\n  and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise DataError(
            f"{name}: {len(missing)} of {len(paths)} files are missing (relative paths start at the "
            "list's own folder):\n  " + "\n  ".join(missing[:SHOWN]) + more
        )
