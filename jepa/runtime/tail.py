"""A file that another process writes, read as it grows."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tail:
    """The complete lines that were added to a file since the last look; a line that is being written waits."""

    path: Path
    restarts: int = 0
    """How often the file was replaced or cut, and read again from its start."""
    _read: int = field(default=0, repr=False)
    _inode: int | None = field(default=None, repr=False)

    def lines(self) -> list[str]:
        """Return the new lines, without their ends; none where there is no file yet."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            size, inode = file.seek(0, 2), os.fstat(file.fileno()).st_ino
            if size < self._read or self._inode not in (None, inode):
                self._read, self.restarts = 0, self.restarts + 1
            self._inode = inode
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        return whole.decode("utf-8", errors="replace").split("\n") if newline else []
