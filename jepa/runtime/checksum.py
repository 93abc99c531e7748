"""Checksums of checkpoints, so that a flipped bit is noticed before it trains on."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 22  # bytes read at once


class HashingFile:
    """A file that is written once, from its beginning to its end, and knows the checksum of what went into it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, _digest()

    def write(self, data: bytes | memoryview) -> int:
        """Write and count ``data``."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    def to_disk(self) -> None:
        """Wait until everything is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    @property
    def checksum(self) -> str:
        """Of everything written so far."""
        return self._digest.hexdigest()


def checksum(path: Path) -> str:
    """Return the checksum of a file, 32 hex digits."""
    digest = _digest()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)
