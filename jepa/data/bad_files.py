"""Keeps count of the files that cannot be read, on disk, and stops the run when they are too many."""

import json
from collections.abc import Iterable
from pathlib import Path

from jepa.errors import DataError
from jepa.types import BadFile


class BadFiles:
    """Different bad files among ``total`` files, listed in ``bad_files.jsonl`` in the run directory.

    A list that is there already, from before a run was interrupted, is read and continued.
    """

    def __init__(self, run_dir: Path, *, total: int, max_fraction: float) -> None:
        self.path = run_dir / "bad_files.jsonl"
        self._total = total
        self._max_fraction = max_fraction
        self._reasons: dict[str, str] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                if line.endswith("}"):  # an interrupted write may have left half a line
                    record = json.loads(line)
                    self._reasons[record["path"]] = record["reason"]

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def fraction(self) -> float:
        """Bad files over all files."""
        return len(self) / max(1, self._total)

    def add(self, found: Iterable[BadFile]) -> None:
        """Note new bad files. Raises DataError when their share passes the limit."""
        new = {bad.path: bad.reason for bad in found if bad.path not in self._reasons}
        if not new:
            return
        self._reasons |= new
        with self.path.open("a") as file:
            file.writelines(
                json.dumps({"path": path, "reason": reason}) + "\n" for path, reason in new.items()
            )
        if self.fraction > self._max_fraction:
            path, reason = next(reversed(new.items()))
            raise DataError(
                f"{len(self)} of {self._total} files cannot be read ({self.fraction:.1%}), the last {path}: "
                f"{reason} — data.max_bad_fraction allows {self._max_fraction:.1%} — repair or remove the "
                f"files listed in {self.path}, or raise data.max_bad_fraction"
            )
