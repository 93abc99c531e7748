"""Write tar shards with their indexes: each whole or not there at all."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np

from jepa.data.entries import Entry
from jepa.data.locations import spelled
from jepa.data.reencode import Encoded
from jepa.data.shard_index import ENDING, Note, ShardIndex
from jepa.data.storage import Stamp


class ShardWriter:
    """One shard: samples go into a file beside it, which takes its name when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._file = self._part.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)
        self._names: list[str] = []
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        self._notes: list[Note] = []

    def __len__(self) -> int:
        return len(self._names)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._tar.offset

    def add(
        self, key: str, clip: Encoded, entry: Entry, label: str | None, targets: dict[str, float]
    ) -> None:
        """Write a sample: what is known of it, as ``KEY.json``, and its clip, as ``KEY`` and the clip's ending."""
        said: dict[str, object] = {"source": spelled(entry.path)}
        said |= {"start": entry.start, "end": entry.end} if entry.start or entry.end is not None else {}
        said |= {} if label is None else {"label": label}
        self._write(f"{key}.json", json.dumps(said | targets, ensure_ascii=False).encode(errors="replace"))
        offset = self._write(key + clip.ending, clip.content)
        self._names.append(key + clip.ending)
        self._offsets.append(offset)
        self._sizes.append(len(clip.content))
        self._notes.append(Note(label, None, dict(targets)))

    def finish(self) -> int:
        """Put the shard and its index in their places; return the shard's bytes."""
        self._tar.close()
        _to_disk(self._file)
        size = self._part.stat().st_size
        # Without a time: copies of the shard have others.
        index = ShardIndex(
            Stamp(size, 0),
            tuple(self._names),
            np.array(self._offsets, np.int64),
            np.array(self._sizes, np.int64),
            tuple(self._notes),
        )
        beside = self.path.with_name(self.path.name.removesuffix(".tar") + ENDING)
        part = beside.with_name(beside.name + ".part")
        with part.open("wb") as file:
            index.save(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, beside)
        os.replace(self._part, self.path)
        return size

    def drop(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _write(self, name: str, content: bytes) -> int:
        """Add a member; return where its bytes begin."""
        member = tarfile.TarInfo(name)  # its time is 0: the same clips make the same shard
        member.size, member.mode = len(content), 0o644
        self._tar.addfile(member, io.BytesIO(content))
        return self._tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _to_disk(file: io.BufferedWriter) -> None:
    """Close a file after its bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
