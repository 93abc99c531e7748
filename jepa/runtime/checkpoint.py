"""Checkpoints that are whole or absent, and that cannot run code."""

import os
import re
from pathlib import Path
from typing import Any

import torch

from jepa.config.schema import CheckpointConfig
from jepa.errors import CheckpointError
from jepa.runtime.weights import read_weights

FORMAT = 1
_NAME = re.compile(r"step-(\d{9})\.pt")


def checkpoint_path(run_dir: Path, step: int) -> Path:
    """Return where the checkpoint of ``step`` lies."""
    return run_dir / "checkpoints" / f"step-{step:09d}.pt"


def list_checkpoints(run_dir: Path) -> list[tuple[int, Path]]:
    """Return (step, path) of every finished checkpoint, oldest first."""
    found = [(_NAME.fullmatch(path.name), path) for path in (run_dir / "checkpoints").glob("step-*.pt")]
    return sorted((int(match[1]), path) for match, path in found if match)


def save_checkpoint(run_dir: Path, state: dict[str, Any]) -> Path:
    """Write ``state`` (with its ``step``) so that a reader finds the old files or the new one, never a part.

    Raises CheckpointError when it cannot be written; earlier checkpoints stay whole.
    """
    path = checkpoint_path(run_dir, state["step"])
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        part.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {error}; earlier checkpoints are whole. "
            "Make room, then run the same command to go on"
        ) from error
    return path


def prune_checkpoints(run_dir: Path, config: CheckpointConfig) -> None:
    """Delete all but the newest ``keep_last`` and the multiples of ``keep_every``."""
    for step, path in list_checkpoints(run_dir)[: -config.keep_last]:
        if config.keep_every is None or step % config.keep_every:
            path.unlink()


def find_checkpoint(source: Path | str) -> Path:
    """Return the checkpoint file that ``source`` names: itself, or the newest of a run directory.

    Raises CheckpointError for a directory without one.
    """
    path = Path(source)
    if not path.is_dir():
        return path
    found = list_checkpoints(path)
    if not found:
        raise CheckpointError(f"{source} holds no checkpoint; give a run directory or a .pt file")
    return found[-1][1]


def load_checkpoint(path: Path, *, program: str = "pretrain") -> dict[str, Any]:
    """Read a checkpoint of the verb ``program`` to the CPU.

    Raises CheckpointError when it is missing, damaged, foreign, another verb's or would run code.
    """
    state = read_weights(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(
            f"{path} has format {found!r}; this version reads format {FORMAT} of `jepa {program}`"
        )
    if (made_by := state.get("program", "pretrain")) != program:
        raise CheckpointError(f"{path} is of `jepa {made_by}`; one of `jepa {program}` is needed here")
    return state
