"""Tar shards as a source: patterns become shards, and their indexes the lines of a list."""

import glob
import hashlib
import math
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from jepa.config.data import ShardSource
from jepa.data.entries import ColumnsBuilder, Rows
from jepa.data.listing import Listing
from jepa.data.locations import is_url, local
from jepa.data.media_types import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from jepa.data.presence import Confine
from jepa.data.shard_index import ENDING, Note, ShardIndex, index_tar
from jepa.data.storage import Stamp, find, opened, read_bytes, stamp
from jepa.data.video import UnreadableError
from jepa.errors import DataError

BRACES = re.compile(r"\{([^{}]+)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
REQUESTS = 16  # indexes that are read at once where shards are remote
MOST_SHARDS = 10_000_000  # that one pattern may name


def list_shards(config: ShardSource, confine: Confine | None = None) -> Listing:
    """Return the clips of all shards, in the order of the shards and of the files in them.

    Raises DataError for a pattern without a shard, a shard that cannot be read or has changed since it was indexed,
    a sample that lacks what ``config`` asks for, and what lies outside ``confine``.
    """
    patterns = (config.path,) if isinstance(config.path, str) else config.path
    name = " ".join(patterns)
    shards = [shard for pattern in patterns for shard in find_shards(pattern)]
    if confine is not None:
        confine.check(name, shards)
    suffixes = VIDEO_SUFFIXES if config.modality == "video" else IMAGE_SUFFIXES
    rows, labels, splits = ColumnsBuilder(len(config.targets)), set(), set()
    for shard, index in zip(shards, _indexes(shards, config.index_folder), strict=True):
        for place, (member, note) in enumerate(zip(index.names, index.notes, strict=True)):
            if not member.lower().endswith(suffixes):
                continue
            labels.add(note.label)
            splits.add(note.split)
            if config.split is None or note.split == config.split:
                numbers = _targets(f"{shard}::{member}", note, config.targets)
                rows.append(index.member(shard, place).path, note.label, targets=numbers)
    if not len(rows):
        known = (
            f" of split {config.split!r}; their splits are {sorted(map(str, splits))}" if config.split else ""
        )
        raise DataError(f"{name}: these shards hold no {config.modality}{known}")
    columns = rows.build()
    if 0 < (missing := int((columns.cell < 0).sum())) < len(columns):
        raise DataError(f"{name}: {missing} of {len(columns)} samples have no label — give all one, or none")
    return Listing(Rows(columns), frozenset(label for label in labels if label is not None))


def find_shards(pattern: str) -> list[str]:
    """Return the shards that a folder, a file, a glob pattern or a pattern in braces names, in a fixed order.

    Raises DataError where there is none, and for compressed ones.
    """
    found = [shard for one in braces(local(pattern)) for shard in _matches(one)]
    if packed := [shard for shard in found if not shard.endswith(".tar")]:
        raise DataError(
            f"{packed[0]}: shards must be plain .tar files, in which each sample can be read by itself — unpack "
            "compressed ones (gunzip)"
        )
    if not found:
        raise DataError(
            f"{pattern}: there is no shard (.tar) — give a folder of shards, or a pattern of them"
        )
    return found


def braces(pattern: str) -> Iterator[str]:
    """Spell out ``{a,b}`` and ``{000..127}``, as a shell does.

    >>> list(braces("s-{08..10}.tar"))
    ['s-08.tar', 's-09.tar', 's-10.tar']
    """
    match = BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    span = RANGE.fullmatch(match[1])
    if span and int(span[2]) - int(span[1]) >= MOST_SHARDS:
        raise DataError(f"{pattern}: this names more than {MOST_SHARDS} shards")
    choices = (
        (f"{number:0{len(span[1])}d}" for number in range(int(span[1]), int(span[2]) + 1))
        if span
        else iter(match[1].split(","))
    )
    for choice in choices:
        yield from braces(pattern[: match.start()] + choice + pattern[match.end() :])


def _matches(pattern: str) -> list[str]:
    """Return the shards of one pattern without braces."""
    has_magic = glob.has_magic(pattern)
    if is_url(pattern):
        if pattern.endswith("/"):
            return find(f"{pattern}*.tar")
        return find(pattern) if has_magic else [pattern]
    if os.path.isdir(pattern):
        return sorted(str(shard) for shard in Path(pattern).glob("*.tar"))
    if not has_magic and not os.path.exists(pattern):
        raise DataError(
            f"{pattern}: this does not exist — give a folder of shards (.tar), or a pattern of them"
        )
    return sorted(glob.glob(pattern)) if has_magic else [pattern]


def _indexes(shards: Sequence[str], folder: str | None) -> Iterator[ShardIndex]:
    """Read the index of every shard, several at once where they come over a network."""
    if not any(is_url(shard) for shard in shards):
        return (open_index(shard, folder) for shard in shards)
    with ThreadPoolExecutor(REQUESTS) as pool:
        return iter(list(pool.map(partial(open_index, folder=folder), shards)))


def open_index(shard: str, folder: str | None = None) -> ShardIndex:
    """Return the index of a shard: the one beside it, or one in ``folder``, which is made on first use.

    Raises DataError for a shard that cannot be read, or that is no longer the one that was indexed.
    """
    now = stamp(shard)
    beside = shard.removesuffix(".tar") + ENDING
    try:
        index, path = ShardIndex.load(read_bytes(beside), beside), beside
    except UnreadableError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        path = str(_cached(shard, folder))
        index = _own_index(shard, Path(path), now)
    if index.stamp.size != now.size or index.stamp.mtime_ns not in (0, now.mtime_ns):
        raise DataError(
            f"{shard}: this shard changed since it was indexed: then {index.stamp.size} bytes, now {now.size}"
            f"{'' if index.stamp.size != now.size else ' and another time'} — if that is meant, remove {path}"
        )
    if not is_url(shard) and len(index):
        _check_last(shard, index, path)
    return index


def _own_index(shard: str, path: Path, now: Stamp) -> ShardIndex:
    """Return the index that was made here of a shard that came without one; make it where there is none."""
    if path.exists():
        return ShardIndex.load(read_bytes(str(path)), str(path))
    with opened(shard) as file:
        index = index_tar(shard, file, now)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as out:
        index.save(out)
    os.replace(part, path)
    return index


def _cached(shard: str, folder: str | None) -> Path:
    """Return where the index of a shard that has none beside it is kept."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jepa" / "shards"
    where = shard if is_url(shard) else os.path.realpath(shard)
    return (Path(folder) if folder else default) / (hashlib.sha256(where.encode()).hexdigest()[:32] + ENDING)


def _check_last(shard: str, index: ShardIndex, path: str) -> None:
    """Raise DataError unless a tar header of its size stands before the last member."""
    last = int(index.offsets.argmax())
    with opened(shard) as file:
        file.seek(int(index.offsets[last]) - tarfile.BLOCKSIZE)
        header = file.read(tarfile.BLOCKSIZE)
    try:
        size = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size
    except tarfile.HeaderError:
        size = -1
    if size != int(index.sizes[last]):
        raise DataError(
            f"{shard}: this shard changed since it was indexed: {index.names[last]} is not where it was — if that is "
            f"meant, remove {path}"
        )


def _targets(sample: str, note: Note, names: Sequence[str]) -> list[float]:
    """Return the numbers to predict. Raises DataError where a sample lacks one."""
    numbers = [note.numbers[name] if name in note.numbers else math.nan for name in names]
    for name, number in zip(names, numbers, strict=True):
        if not math.isfinite(number):
            raise DataError(f"{sample}: its .json has no number {name!r} — every sample needs all targets")
    return numbers
