"""Features on disk: written once, in shards that are whole or absent, and read without loading them.

manifest.json        what the features are: fingerprint, kinds and their shapes, source, model, settings
entries.csv          path, start, end, label, labels, targets of every entry
shards/00000/        clips.npy (entry, clip, view, start_s, end_s) and one .npy file per kind of feature
bad_files.jsonl      files that gave no clip
"""

import csv
import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.data.sources import Entry, Modality, Source
from jepa.errors import DataError
from jepa.runtime.run_dir import write_text
from jepa.types import BadFile

FORMAT = 1
SHARD_ENTRIES = 512
TOKEN_SHARD_ENTRIES = 64  # a thousand tokens weigh as much as a thousand clips
MOST_OPEN = 64  # files; each mapped file holds a descriptor, and a process has about a thousand
COLUMNS = ("path", "start", "end", "label", "labels", "targets")

CLIP = np.dtype([("entry", "<i8"), ("clip", "<i4"), ("view", "<i4"), ("start_s", "<f8"), ("end_s", "<f8")])
Rows = NDArray[np.void]


@dataclass(frozen=True)
class Manifest:
    """What a folder of features holds."""

    fingerprint: str
    """Of the weights, the preprocessing, the cut of the clips and the files."""
    model: str
    """Where the encoder was loaded from."""
    settings: dict[str, Any]
    """All that the features depend on beside the files."""
    config: dict[str, Any]
    """The model and how clips are cut, as `EmbedConfig` reads it, to embed more clips in the same way."""
    kinds: tuple[str, ...]
    """Which features: ways of pooling, and tokens."""
    dtype: str
    """float16 or float32."""
    source: str
    modality: Modality
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    entries: int
    shard_entries: int
    format: int = FORMAT

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.entries // self.shard_entries)


class FeatureStore:
    """One folder of features."""

    def __init__(self, root: Path | str, manifest: Manifest) -> None:
        self.root, self.manifest = Path(root), manifest

    @classmethod
    def create(cls, root: Path | str, manifest: Manifest, entries: Sequence[Entry]) -> "FeatureStore":
        """Start a folder, or go on with one that holds the same features; labels may have changed.

        Raises DataError when it holds something else.
        """
        store = cls(root, manifest)
        if (store.root / "manifest.json").exists():
            found = _read_manifest(store.root)
            if found.fingerprint != manifest.fingerprint:
                raise DataError(
                    f"{root} holds features of another model, other settings or other files (of {found.model}, "
                    f"fingerprint {found.fingerprint[:12]}; wanted {manifest.model}, {manifest.fingerprint[:12]}); "
                    "choose another folder, or remove this one"
                )
        elif store.root.exists() and any(store.root.iterdir()):
            raise DataError(f"{root} is not empty and holds no features; choose another folder")
        store.root.mkdir(parents=True, exist_ok=True)
        _write_entries(store.root / "entries.csv", entries)
        write_text(store.root / "manifest.json", json.dumps(asdict(manifest), indent=1) + "\n")
        return store

    @classmethod
    def open(cls, root: Path | str) -> "FeatureStore":
        """Open a finished folder. Raises DataError when it is none, or when shards are missing."""
        store = cls(root, _read_manifest(Path(root)))
        if missing := store.missing():
            raise DataError(
                f"{root}: {len(missing)} of {store.manifest.shards} shards are missing; run the same "
                "`jepa embed` again to finish it"
            )
        return store

    def missing(self) -> list[int]:
        """Return the numbers of the shards that are not written."""
        return [shard for shard in range(self.manifest.shards) if not self._shard(shard).is_dir()]

    def places(self, shard: int) -> range:
        """Return the places of a shard's entries."""
        begin = shard * self.manifest.shard_entries
        return range(begin, min(begin + self.manifest.shard_entries, self.manifest.entries))

    def write(
        self, shard: int, clips: Rows, features: Mapping[str, NDArray[np.float32]], bad: Sequence[BadFile]
    ) -> None:
        """Write one shard: clips (n,) of CLIP, and for every kind an array of n rows."""
        part = self._shard(shard).with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        np.save(part / "clips.npy", clips)
        for kind in self.manifest.kinds:
            stored = features[kind].astype(self.manifest.dtype)
            if not np.isfinite(stored).all():
                raise DataError(
                    f"{self.manifest.model}: features ({kind}) of entries {self.places(shard)[0]} to "
                    f"{self.places(shard)[-1]} are not finite as {self.manifest.dtype}; look at the encoder's "
                    "weights, or store float32"
                )
            np.save(part / f"{kind}.npy", stored)
        if bad:
            with (self.root / "bad_files.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps({"path": one.path, "reason": one.reason}) + "\n" for one in bad)
        os.replace(part, self._shard(shard))

    def clips(self) -> Rows:
        """Return one row of CLIP per clip, (n,)."""
        return np.concatenate(
            [np.load(self._shard(shard) / "clips.npy") for shard in range(self.manifest.shards)]
        )

    def array(self, kind: str) -> "ShardedArray":
        """Return the features of one kind, (n, ...), on disk. Raises DataError for a kind that is not there."""
        if kind not in self.manifest.kinds:
            raise DataError(
                f"{self.root} holds {', '.join(self.manifest.kinds)}, not {kind}; run `jepa embed` with it"
            )
        shards = [self._shard(shard) for shard in range(self.manifest.shards)]
        sizes = [len(np.load(shard / "clips.npy", mmap_mode="r")) for shard in shards]
        return ShardedArray(
            [shard / f"{kind}.npy" for shard, size in zip(shards, sizes, strict=True) if size],
            [size for size in sizes if size],
        )

    def source(self) -> Source:
        """Return the source that was embedded, with its labels."""
        m = self.manifest
        return Source(
            m.source, m.modality, _read_entries(self.root / "entries.csv"), m.classes, 1.0, m.targets
        )

    def _shard(self, shard: int) -> Path:
        return self.root / "shards" / f"{shard:05d}"


class ShardedArray:
    """Arrays on disk, one behind the other, read by rows like one array; few files are open at a time."""

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        """Take .npy files and how many rows each holds; raises DataError when there is none."""
        if not paths:
            raise DataError("there are no features: every file was bad")
        self._paths, self._sizes = paths, np.array(sizes)
        self._ends = np.cumsum(self._sizes)
        self._open: OrderedDict[int, NDArray[Any]] = OrderedDict()
        first = self._part(0)
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *first.shape[1:])
        self.dtype, self.ndim = first.dtype, first.ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Read rows: a slice, or places in any order, (m,) -> (m, ...)."""
        places = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        part = np.searchsorted(self._ends, places, side="right")
        for number in np.unique(part).tolist():
            chosen = part == number
            begin = self._ends[number] - self._sizes[number]
            found[chosen] = self._part(number)[places[chosen] - begin]
        return found

    def _part(self, number: int) -> NDArray[Any]:
        """Return one file, mapped into memory; the one that was not used for longest is closed for it."""
        if number not in self._open:
            if len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)
            self._open[number] = np.load(self._paths[number], mmap_mode="r")
        self._open.move_to_end(number)
        return self._open[number]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Load everything."""
        loaded = self[:]
        return loaded if dtype is None else loaded.astype(dtype)


def _read_manifest(root: Path) -> Manifest:
    """Read and check a manifest."""
    path = root / "manifest.json"
    if not path.is_file():
        raise DataError(f"{root} holds no features (there is no manifest.json); make some with `jepa embed`")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; remove the folder and embed again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or "fingerprint" not in found:
        raise DataError(
            f"{path} is no manifest of features of format {FORMAT}; remove the folder and embed again"
        )
    lists = {key: tuple(found[key]) for key in ("kinds", "classes", "targets")}
    return Manifest(**(found | lists))


def _write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Write one line per entry."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in entries:
            blank = ["" if value is None else value for value in (one.end, one.label)]
            labels, targets = " ".join(map(str, one.labels)), " ".join(map(repr, one.targets))
            writer.writerow([one.path, one.start, *blank, labels, targets])
    os.replace(part, path)


def _read_entries(path: Path) -> tuple[Entry, ...]:
    """Read what `_write_entries` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return tuple(
        Entry(
            path,
            int(label) if label else None,
            int(start),
            int(end) if end else None,
            tuple(map(int, labels.split())),
            tuple(map(float, targets.split())),
        )
        for path, start, end, label, labels, targets in rows
    )
