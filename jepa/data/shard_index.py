"""What a tar shard holds and where: names, places, labels. With it every sample is read by itself, in any order."""

import io
import json
import math
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from jepa.data.locations import Member
from jepa.data.media_types import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from jepa.data.storage import Stamp
from jepa.errors import DataError

FORMAT = "jepa shard index 1"
ENDING = ".index.npz"
LARGEST_NOTE = 1_000_000  # bytes of a .cls or .json member


@dataclass(slots=True)
class Note:
    """What the other members of a sample say about it."""

    label: str | None = None
    split: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """The videos and images of one shard, in their order there."""

    stamp: Stamp
    """Of the shard that was indexed."""
    names: tuple[str, ...]
    offsets: NDArray[np.int64]  # (n,) bytes
    sizes: NDArray[np.int64]  # (n,) bytes
    notes: tuple[Note, ...]

    def __len__(self) -> int:
        return len(self.names)

    def member(self, shard: str, place: int) -> Member:
        """Return where one of them lies."""
        return Member(shard, self.names[place], int(self.offsets[place]), int(self.sizes[place]))

    def save(self, file: BinaryIO) -> None:
        """Write the index as npz, without anything that could run."""
        keys = sorted({key for note in self.notes for key in note.numbers})
        numbers = [[note.numbers.get(key, np.nan) for key in keys] for note in self.notes]
        texts = [[note.label, note.split] for note in self.notes]
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            stamp=np.array(self.stamp, np.int64),
            offsets=self.offsets,
            sizes=self.sizes,
            texts=_bytes([list(self.names), texts, keys]),
            numbers=np.array(numbers, np.float64).reshape(len(self), len(keys)),
        )

    @classmethod
    def load(cls, data: bytes, path: str) -> "ShardIndex":
        """Read what `save` wrote. Raises DataError, which names ``path``, for anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                if str(found["format"]) != FORMAT:
                    raise ValueError(f"its format is {str(found['format'])[:40]!r}, not {FORMAT!r}")
                names, texts, keys = json.loads(found["texts"].tobytes())
                numbers, stamp = found["numbers"], Stamp(*map(int, found["stamp"]))
                index = cls(stamp, tuple(names), found["offsets"], found["sizes"], ())
            notes = tuple(
                _note(both[0], both[1], keys, row) for both, row in zip(texts, numbers, strict=True)
            )
            index = cls(index.stamp, index.names, index.offsets, index.sizes, notes)
            index._check()
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise DataError(
                f"{path}: the index of this shard is damaged ({error}) — remove it: it is made again, or run "
                "`jepa data pack` again"
            ) from error
        return index

    def _check(self) -> None:
        """Raise ValueError where a member would lie outside of its shard."""
        if not len(self.names) == len(self.offsets) == len(self.sizes) == len(self.notes):
            raise ValueError("its columns differ in length")
        if len(self) and (min(self.offsets.min(), self.sizes.min()) < 0 or self._end > self.stamp.size):
            raise ValueError("a member lies outside of the shard")

    @property
    def _end(self) -> int:
        """One past the last byte of any member."""
        return int((self.offsets + self.sizes).max())


def index_tar(shard: str, file: BinaryIO, stamp: Stamp) -> ShardIndex:
    """Read the headers of a whole shard, and its labels.

    Members of one sample share their name up to the first dot after the last slash. Each video and each image is a
    sample's clip; ``.cls`` holds a label, ``.json`` may hold ``label``, ``split`` and numbers. Links and folders are
    passed over. Raises DataError for what is no tar file, or a compressed or damaged one.
    """
    places: list[tuple[str, int, int]] = []
    notes: defaultdict[str, Note] = defaultdict(Note)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in _files(shard, tar, stamp.size):
                key, ending = _split(member.name)
                if ending in (".cls", ".json"):
                    _take_note(notes[key], f"{shard}::{member.name}", ending, _text(shard, tar, member))
                elif PurePosixPath(member.name).suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):
                    places.append((member.name, member.offset_data, member.size))
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{shard}: this is not an uncompressed tar file: {error}") from error
    names = tuple(name for name, _, _ in places)
    offsets, sizes = (np.array([place[column] for place in places], np.int64) for column in (1, 2))
    return ShardIndex(stamp, names, offsets, sizes, tuple(notes[_split(name)[0]] for name in names))


def _files(shard: str, tar: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    """Yield the plain files of a shard. Raises DataError where one does not lie in one piece in it."""
    for member in tar:
        if not member.isreg():
            continue
        if member.issparse() or member.offset_data + member.size > size:
            raise DataError(
                f"{shard}: {member.name} does not lie whole in this shard ({size} bytes): it is cut short, or "
                "written with holes — write the shard again"
            )
        yield member


def _split(name: str) -> tuple[str, str]:
    """Return a member's key and the rest of its name: a/0001.mp4 is a/0001 and .mp4."""
    folder, slash, last = name.rpartition("/")
    key, dot, ending = last.partition(".")
    return f"{folder}{slash}{key}", f"{dot}{ending}".lower()


def _text(shard: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Read a small member. Raises DataError."""
    content = tar.extractfile(member) if member.size <= LARGEST_NOTE else None
    try:
        if content is None:
            raise ValueError(f"it has {member.size} bytes, more than {LARGEST_NOTE}")
        return content.read().decode()
    except ValueError as error:
        raise DataError(f"{shard}::{member.name}: this label cannot be read: {error}") from error


def _take_note(note: Note, name: str, ending: str, text: str) -> None:
    """Add what a ``.cls`` or ``.json`` member says. Raises DataError for one that is damaged."""
    if ending == ".cls":
        note.label = text.strip() or None
        return
    try:
        said = json.loads(text)
    except ValueError as error:
        raise DataError(f"{name}: this is not JSON: {error}") from error
    if not isinstance(said, Mapping):
        raise DataError(f"{name}: this must be an object with keys such as label, got {text[:40]!r}")
    note.label = _word(said, "label") or note.label
    note.split = _word(said, "split")
    note.numbers = {
        key: float(value)
        for key, value in said.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in ("label", "split")
    }


def _word(said: Mapping[str, Any], key: str) -> str | None:
    """Return a text or a whole number as text, and nothing for anything else."""
    value = said[key] if key in said else None
    return (
        str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None
    )


def _note(label: str | None, split: str | None, keys: list[str], row: NDArray[np.float64]) -> Note:
    """Put together what `ShardIndex.save` took apart."""
    known = {key: value for key, value in zip(keys, row.tolist(), strict=True) if not math.isnan(value)}
    return Note(label, split, known)


def _bytes(values: Any) -> NDArray[np.uint8]:
    """Return plain values as JSON in an array of bytes."""
    return np.frombuffer(json.dumps(values).encode(), np.uint8)
