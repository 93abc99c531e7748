"""Checkpoints in parts, one file per process, written while training goes on; one process can read them too."""

import json
import os
import pickle
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from jepa.errors import CheckpointError
from jepa.runtime.checksum import checksum

FACTS = "facts.json"
"""Step, config, and checksums of the other files: written last, so that a folder with it is whole."""


class SafeReader(FileSystemReader):
    """Reads parts whose metadata can hold no code: it is pickled, and torch reads it without looking."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Read the table of contents. Raises CheckpointError for one that names anything but tensors' places."""
        path = Path(self.path) / ".metadata"
        try:
            with path.open("rb") as file:
                metadata = _TableOfContents(file).load()
        except (OSError, EOFError, AttributeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); it is damaged or holds code") from error
        assert isinstance(metadata, Metadata)
        return metadata


class _TableOfContents(pickle.Unpickler):
    """Unpickles what torch writes as metadata, and nothing else."""

    ALLOWED = (
        ("torch.distributed.checkpoint.metadata", ""),
        ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        ("torch.distributed.checkpoint.planner", ""),
        ("torch", ""),
        ("torch.serialization", "_get_layout"),
        ("pathlib", "PosixPath"),
        ("collections", "OrderedDict"),
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class. Raises UnpicklingError for any other."""
        allowed = any(module == where and what in ("", name) for where, what in self.ALLOWED)
        found = super().find_class(module, name) if allowed else None
        plain = (
            isinstance(found, type | torch.dtype | torch.memory_format | torch.layout)
            or name == "_get_layout"
        )
        if found is None or not plain:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return found


class ShardedWriter:
    """Writes checkpoints of all ranks in the background, one at a time."""

    def __init__(self, main: bool) -> None:
        """``main`` is the rank that completes a checkpoint. All ranks have to call this together."""
        self._main = main
        # What its threads agree on between ranks must not meet the messages of the training that goes on.
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)  # of which this rank is a member
        self._group = group
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: list[Future[None]] = []

    def save(self, folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Begin to write ``tensors``, of which this rank holds its parts, and ``facts``; returns after a copy.

        A checkpoint that is still being written is waited for first.
        """
        self.wait()
        part = folder.with_suffix(".part")
        if self._main:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        dist.barrier()
        written = async_save(dict(tensors), storage_writer=FileSystemWriter(part), process_group=self._group)
        assert isinstance(written, Future)
        self._pending.append(self._finisher.submit(self._finish, written, part, folder, dict(facts)))

    def wait(self) -> None:
        """Wait until everything is written. Raises CheckpointError where it could not be."""
        while self._pending:
            try:
                self._pending.pop().result()
            except (OSError, RuntimeError, CheckpointException) as error:
                raise CheckpointError(
                    f"the checkpoint cannot be written: {error}; earlier checkpoints are whole. "
                    "Make room, then run the same command to go on"
                ) from error

    def close(self) -> None:
        """Let go of the thread; what is being written is given up."""
        self._finisher.shutdown(wait=False, cancel_futures=True)

    def _finish(self, written: "Future[Any]", part: Path, folder: Path, facts: dict[str, Any]) -> None:
        """When all ranks are done, add the facts and give the folder its name."""
        written.result()
        if not self._main:
            return
        facts["checksums"] = {path.name: checksum(path) for path in sorted(part.iterdir())}
        with (part / FACTS).open("w", encoding="utf-8") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


def read_facts(folder: Path) -> dict[str, Any]:
    """Return step, config and checksums. Raises CheckpointError where the folder is no whole checkpoint."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is no whole checkpoint ({error}); use another one") from error
    assert isinstance(facts, dict)
    return facts


def read_sharded(folder: Path) -> dict[str, Tensor]:
    """Read all tensors, whole, in this process alone. Raises CheckpointError where the folder is damaged."""
    reader = SafeReader(folder)
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in reader.read_metadata().state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    read_into(folder, tensors, together=False)
    return tensors


def read_into(folder: Path, tensors: dict[str, Tensor], *, together: bool = True) -> None:
    """Fill ``tensors``, or this rank's parts of them. Raises CheckpointError where the folder is damaged."""
    try:
        with warnings.catch_warnings():
            if not together:  # which is what is meant, and what torch warns of
                warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(tensors, storage_reader=SafeReader(folder), no_dist=not together)
    except (OSError, RuntimeError, KeyError, CheckpointException) as error:
        raise CheckpointError(f"{folder} cannot be read ({error}); use another checkpoint") from error
