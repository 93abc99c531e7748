"""`jepa data pack`: any source in, tar shards out, each clip re-encoded for fast training reads."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jepa.data.decode import resolve_decoder
from jepa.data.reencode import Encoded, Encoder, Encoding
from jepa.data.shard_writer import ShardWriter
from jepa.data.sources import Source, open_source
from jepa.data.surviving import Surviving, WorkerLimits
from jepa.errors import DataError
from jepa.programs.naming import clips_at
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.terminal import Progress
from jepa.types import BadFile

FORMAT = "jepa shards 1"
MANIFEST = "manifest.json"
TOLD = 100  # lines of progress
SILENCE_S = 300.0  # without a sign of life from a process that encodes


@dataclass(slots=True)
class Manifest:
    """What a folder of shards holds, and how far it is."""

    settings: dict[str, Any]
    """How the shards were written, and of what."""
    shards: list[dict[str, Any]] = field(default_factory=list)
    """Of each shard its name, samples, bytes, and the entries that it and the bad ones among them used up."""
    bad: list[dict[str, str]] = field(default_factory=list)
    """Files that could not be read, which are in no shard."""
    complete: bool = False

    @property
    def done(self) -> int:
        """Entries that are in whole shards, or bad."""
        return int(self.shards[-1]["entries"]) if self.shards else 0

    def summary(self) -> dict[str, Any]:
        """Return the counts."""
        totals = {key: sum(shard[key] for shard in self.shards) for key in ("samples", "bytes")}
        return {"shards": len(self.shards), **totals, "bad": len(self.bad)}

    def write(self, folder: Path) -> None:
        """Write manifest.json, whole."""
        told = {
            "format": FORMAT,
            **self.summary(),
            "complete": self.complete,
            "settings": self.settings,
            "files": self.shards,
            "bad_files": self.bad,
        }
        part = folder / f"{MANIFEST}.part"
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        os.replace(part, folder / MANIFEST)

    @classmethod
    def read(cls, folder: Path, settings: dict[str, Any]) -> "Manifest":
        """Go on with the manifest in ``folder``. Raises DataError where it is of something else."""
        path = folder / MANIFEST
        if not path.exists():
            if folder.exists() and any(folder.iterdir()):
                raise DataError(f"{folder}: this folder is not empty, and holds no shards — give a new one")
            return cls(settings)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls(found["settings"], found["files"], found["bad_files"], found["complete"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: this manifest is damaged or another's — give a new folder") from error
        if manifest.settings != settings:
            changed = sorted(key for key in settings if manifest.settings.get(key) != settings[key])
            raise DataError(
                f"{folder}: these shards were begun with another {', '.join(changed) or 'version'} — repeat the "
                "command with what it was, or give a new folder"
            )
        return manifest


def pack(
    paths: Sequence[str], out: Path, *, encoding: Encoding, shard_mb: int, workers: int
) -> dict[str, Any]:
    """Write the clips of all sources as shards into ``out``, in their order; go on where an earlier call stopped.

    Files that cannot be read are left out, and listed in manifest.json. Raises DataError for sources that cannot be
    opened, and for a folder that holds something else.
    """
    sources = tuple(open_source(clips_at(path)) for path in paths)
    settings = {
        **encoding.to_dict(),
        "shard_mb": shard_mb,
        "sources": list(paths),
        "content": _content(sources),
    }
    manifest = Manifest.read(out, settings)
    encoder = Encoder(sources, encoding, decoder=resolve_decoder("auto"))
    todo = range(len(encoder) if manifest.complete else manifest.done, len(encoder))
    made = Surviving(encoder, todo, WorkerLimits(workers, SILENCE_S))
    try:
        out.mkdir(parents=True, exist_ok=True)
        _fill(_Packer(out, encoder, manifest, shard_mb), made, len(encoder))
    except OSError as error:
        raise DataError(
            f"{out}: the shards cannot be written: {error} — whole ones stay; the same command goes on"
        ) from error
    status = "done" if manifest.complete else "interrupted"
    return {"status": status, "folder": str(out), **manifest.summary(), **made.counts}


def _fill(packer: "_Packer", made: Iterable[Encoded | BadFile | DataError], total: int) -> None:
    """Take all clips, or stop at a signal."""
    with Progress(total, start=packer.entries, unit="clip") as progress, Interrupts() as interrupts:
        for clip in made:
            packer.add(clip)
            if packer.entries % max(1, total // TOLD) == 0:
                progress.update(packer.entries, {})
            if interrupts.requested:
                progress.note(f"{interrupts.requested}: whole shards stay; the same command goes on")
                packer.drop()
                return
    packer.finish()


class _Packer:
    """Fills one shard after the other."""

    def __init__(self, out: Path, encoder: Encoder, manifest: Manifest, shard_mb: int) -> None:
        self._out, self._encoder, self._manifest = out, encoder, manifest
        self._most = shard_mb * 1_000_000
        self._writer: ShardWriter | None = None
        self._bad: list[dict[str, str]] = []  # since the last whole shard
        self.entries = manifest.done

    def add(self, clip: Encoded | BadFile | DataError) -> None:
        """Take the next clip."""
        if isinstance(clip, DataError):
            self.drop()
            raise clip
        number, self.entries = self.entries, self.entries + 1
        if isinstance(clip, BadFile):
            self._bad.append({"path": clip.path, "reason": clip.reason})
            return
        if self._writer is not None and self._writer.size + len(clip.content) > self._most:
            self._close(number)
        if self._writer is None:
            self._writer = ShardWriter(self._out / f"shard-{len(self._manifest.shards):06d}.tar")
        source, entry = self._encoder.find(number)
        label = None if entry.label is None else source.classes[entry.label]
        self._writer.add(f"{number:08d}", clip, entry, label, {})

    def finish(self) -> None:
        """Write the last shard and the manifest. Raises DataError where nothing at all could be read."""
        if self._manifest.complete:
            return
        if self._writer is None and not self._manifest.shards:
            last = self._bad[-1]
            raise DataError(f"no file can be read, the last {last['path']}: {last['reason']}")
        self._manifest.complete = True
        self._close(self.entries)

    def drop(self) -> None:
        """Leave away the shard that is not whole."""
        if self._writer is not None:
            self._writer.drop()

    def _close(self, entries: int) -> None:
        """Put the shard in its place, and note that it is there."""
        if self._writer is not None:
            size = self._writer.finish()
            self._manifest.shards.append(
                {
                    "name": self._writer.path.name,
                    "samples": len(self._writer),
                    "bytes": size,
                    "entries": entries,
                }
            )
        self._manifest.bad += self._bad
        self._manifest.write(self._out)
        self._writer, self._bad = None, []


def _content(sources: Sequence[Source]) -> str:
    """Return a name of all entries: another list gives other shards."""
    digest = hashlib.sha256()
    for text in _texts(sources):
        digest.update(text.encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()


def _texts(sources: Sequence[Source]) -> Iterator[str]:
    """Yield a line for each entry."""
    for source in sources:
        yield f"{source.modality} {source.classes}"
        for entry in source.entries:
            yield f"{entry.path} {entry.label} {entry.start} {entry.end}"
