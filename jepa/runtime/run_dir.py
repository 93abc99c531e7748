"""The run directory: who made it, with which configuration, and where each file lies."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jepa
from jepa.errors import RunError


class RunDir:
    """Paths of a run; see the README for the list of files."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.metrics = self.root / "metrics.jsonl"
        self.summary = self.root / "summary.json"
        self.report = self.root / "report.html"
        self.plots = self.root / "plots"

    def create(self) -> None:
        """Make the directory; raises RunError when that is not possible."""
        try:
            self.plots.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"run_dir: cannot make {self.root}: {error.strerror}; give a folder you can write to"
            ) from error

    def write_config(self, text: str) -> None:
        """Write the resolved configuration under a header with the version and the commit."""
        write_text(self.config, f"# jepa {jepa.__version__}, commit {commit()}\n{text}")

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write the final numbers."""
        write_text(self.summary, json.dumps(summary, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` so that a reader finds the old file or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def commit() -> str:
    """Return the git commit of the code in use, with + for local changes, or "unknown" outside a clone."""
    here = Path(__file__).parent
    try:
        ask = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git on this machine
        return "unknown"
    return answer.stdout.strip() or "unknown"
