"""Where clips come from: folders, lists, images, shards and generated videos, all brought to lists of entries."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jepa.config.data import FileSource, PhysicsSource, ShardSource, SyntheticSource, is_images
from jepa.data.entries import ColumnsBuilder, Entries, Entry, Modality, Rows
from jepa.data.generated import ensure_generated
from jepa.data.listing import Listing, read_list
from jepa.data.media_types import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from jepa.data.presence import Confine, check_files, count_files
from jepa.data.shards import list_shards
from jepa.data.storage import check_urls
from jepa.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "Entry", "Modality", "Source", "open_source", "open_sources"]

AnySource = FileSource | ShardSource | SyntheticSource | PhysicsSource
SHOWN = 10  # labels named in a message
LARGEST_CLASS = 100_000  # integer labels above this are taken for names, not for numbers of classes


@dataclass(frozen=True, slots=True)
class Source:
    """Entries of one kind, all of whose files exist."""

    name: str
    modality: Modality
    entries: Sequence[Entry]
    classes: tuple[str, ...]
    """Names of the labels; empty where the source has none."""
    weight: float = 1.0
    targets: tuple[str, ...] = ()
    """Names of the numbers to predict."""

    @property
    def files(self) -> int:
        """Number of different files."""
        if isinstance(self.entries, Entries):
            return count_files(self.entries.columns)
        return len({entry.path for entry in self.entries})


def open_sources(configs: Sequence[AnySource], *, confine: str | None = None) -> tuple[Source, ...]:
    """Read every list, folder and index, and generate what is to be generated.

    ``confine`` is a folder outside of which nothing may lie. Raises one DataError that names all problems of all
    sources, missing files among them.
    """
    sources, problems = [], []
    for config in configs:
        try:
            sources.append(open_source(config, confine=confine))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return tuple(sources)


def open_source(
    config: AnySource, *, classes: Sequence[str] | None = None, confine: str | None = None
) -> Source:
    """Read one source. With ``classes``, labels index into them: give a test list those of its training list.

    Raises DataError for a path that is not there, a list that cannot be read, missing files, a label outside
    ``classes``, and what lies outside ``confine``.
    """
    rule = Confine.to(confine)
    modality: Modality = "image" if is_images(config) else "video"
    name = config.path if isinstance(config.path, str) else " ".join(config.path)
    separator: str | None = None
    targets: tuple[str, ...] = ()
    if rule is not None and not isinstance(config, ShardSource):
        rule.check(config.path, [config.path])  # before anything is read, or written, there
    if isinstance(config, SyntheticSource | PhysicsSource):
        listing = read_list(ensure_generated(config))
    else:
        separator, targets = config.separator, config.targets
        listing = _listing(config, modality, rule)
    found = {part for label in listing.labels for part in _split(label, separator)}
    known = tuple(classes) if classes is not None else _classes(frozenset(found))
    entries = _entries(name, listing.rows, known, separator)
    return Source(name, modality, entries, known, config.weight, targets)


def _listing(config: FileSource | ShardSource, modality: Modality, confine: Confine | None) -> Listing:
    """Read a list or the indexes of shards, or walk through a folder."""
    if isinstance(config, ShardSource):
        return list_shards(config, confine)
    path = Path(config.path)
    if config.kind == "csv" or (config.kind == "images" and path.is_file()):
        listing = read_list(path, split=config.split, targets=config.targets)
        check_files(config.path, listing.rows.columns, confine)
        check_urls(config.path, listing.rows.columns.folders)
        return listing
    listing = _walk(path, modality)
    if confine is not None:
        check_files(config.path, listing.rows.columns, confine)
    return listing


def _split(label: str, separator: str | None) -> list[str]:
    """Return the labels in one cell."""
    return [label] if separator is None else [part.strip() for part in label.split(separator) if part.strip()]


def _entries(name: str, rows: Rows, classes: Sequence[str], separator: str | None) -> Entries:
    """Number the labels of ``rows``. Raises DataError for a label that is not among ``classes``."""
    number = {label: index for index, label in enumerate(classes)}
    cells = [_split(cell, separator) for cell in rows.columns.cells]
    unknown = sorted({label for several in cells for label in several if label not in number})
    if unknown and classes:
        raise DataError(
            f"{name}: labels {unknown[:SHOWN]} are not among the {len(classes)} known classes "
            f"({', '.join(classes[:SHOWN])}) — use the same class names in all lists of a task"
        )

    def numbered(cell: str) -> tuple[int | None, tuple[int, ...]]:
        several = tuple(number[label] for label in _split(cell, separator) if label in number)
        if separator is not None:
            return None, several
        return (several[0] if several else None), ()

    return Entries(rows.columns, numbered)


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
    rows = ColumnsBuilder()
    for file, parts in zip(files, tops, strict=True):
        rows.append(str(file), None if flat else parts[0])
    return Listing(Rows(rows.build()), frozenset() if flat else frozenset(parts[0] for parts in tops))


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
