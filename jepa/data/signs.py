"""Signs of life: what each decoding process is doing, where the training process can see it, also after its death."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

PATH_BYTES = 4096  # of a noted path; a longer one is noted by its end
# int64 places of a row: nanoseconds of the last sign (0: none yet), bytes of its own memory when the process began and
# when it opened the file, times it waited for a source, bytes of the path. The path follows.
SIGN, AT_START, AT_FILE, WAITS, LENGTH, HEAD = range(6)


@dataclass(frozen=True, slots=True)
class Doing:
    """What a process is doing."""

    path: str | None
    """The file that it has open; None between two files."""
    silent_s: float
    """Time since its last sign of life; infinite before the first."""
    started_bytes: int
    """Its own memory when it began; 0 while it has not."""
    opened_bytes: int
    """Its own memory when it opened the file."""


class Board:
    """One row per process, in memory that all of them share."""

    def __init__(self, processes: int) -> None:
        self._rows = torch.zeros(processes, HEAD * 8 + PATH_BYTES, dtype=torch.uint8)
        self._rows.share_memory_()  # type: ignore[no-untyped-call]  # torch leaves it so

    def sign(self, row: int) -> "Sign":
        """Return the row of one process, to write to."""
        return Sign(self._rows[row])

    def doing(self, row: int) -> Doing:
        """Read a row."""
        return self.sign(row).read()

    @property
    def waits(self) -> int:
        """How often any process waited for a source that was away."""
        return sum(self.sign(row).waits for row in range(len(self._rows)))


class Sign:
    """A process's own row."""

    def __init__(self, row: torch.Tensor) -> None:
        self._row = row  # keeps the memory
        everything: NDArray[Any] = row.numpy()
        self._head, self._path = everything[: HEAD * 8].view("int64"), everything[HEAD * 8 :]

    @property
    def waits(self) -> int:
        """How often the process waited for a source."""
        return int(self._head[WAITS])

    def clear(self) -> None:
        """Make the row ready for a process that is about to start; what has been counted stays."""
        self._head[[SIGN, AT_START, AT_FILE, LENGTH]] = 0

    def begin(self) -> None:
        """Say that the process has begun its life."""
        self._head[AT_START] = own_memory()

    def alive(self) -> None:
        """Give a sign of life."""
        self._head[SIGN] = time.monotonic_ns()

    def opens(self, path: str) -> None:
        """Note a file before it is opened."""
        text = path.encode(errors="surrogateescape")[-PATH_BYTES:]
        self._head[LENGTH] = 0
        self._path[: len(text)] = np.frombuffer(text, np.uint8)
        self._head[AT_FILE] = own_memory()
        self._head[LENGTH] = len(text)
        self.alive()

    def closes(self) -> None:
        """Say that the file did no harm."""
        self._head[LENGTH] = 0
        self.alive()

    def waits_for_source(self) -> None:
        """Count one more wait."""
        self._head[WAITS] += 1
        self.alive()

    def read(self) -> Doing:
        """Return what the row says."""
        last, length = int(self._head[SIGN]), int(self._head[LENGTH])
        path = self._path[:length].tobytes().decode(errors="surrogateescape") if length else None
        silent = (time.monotonic_ns() - last) / 1e9 if last else math.inf
        return Doing(path, silent, int(self._head[AT_START]), int(self._head[AT_FILE]))


CURRENT: ContextVar[Sign | None] = ContextVar("sign of this decoding process", default=None)


@contextmanager
def reading_file(path: str) -> Iterator[None]:
    """Note ``path`` while it is read, so that it is known should it end the process. For decoding processes."""
    sign = CURRENT.get()
    if sign is not None:
        sign.opens(path)
    try:
        yield
    finally:
        if sign is not None:
            sign.closes()


def sign_of_life() -> None:
    """Say that this process is getting on with a file that takes long."""
    sign = CURRENT.get()
    if sign is not None:
        sign.alive()


def count_wait() -> None:
    """Count that this process waits for a source which is away."""
    sign = CURRENT.get()
    if sign is not None:
        sign.waits_for_source()


def own_memory(process: int | None = None) -> int:
    """Return the bytes of memory that a process shares with no file, by default this one's; 0 without /proc."""
    table = Path(f"/proc/{process or 'self'}/statm")
    if not table.exists():
        return 0
    try:
        _, resident, shared = table.read_text().split()[:3]
    except (OSError, ValueError):  # it has just ended
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
