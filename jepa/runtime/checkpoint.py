"""Checkpoints that are whole or absent, and that cannot run code."""

import os
import re
import shutil
from pathlib import Path
from typing import IO, Any, cast

import torch

from jepa.config.schema import CheckpointConfig
from jepa.errors import CheckpointError
from jepa.runtime.checksum import HashingFile, checksum
from jepa.runtime.sharded import FACTS, read_facts, read_sharded
from jepa.runtime.weights import read_weights

FORMAT = 1
SUM = ".blake2b"
"""What follows the name of a checkpoint file in that of its checksum."""
_NAME = re.compile(r"step-(\d{9})(\.pt|\.shards)")


def checkpoint_path(run_dir: Path, step: int, *, sharded: bool = False) -> Path:
    """Return where the checkpoint of ``step`` lies: a file, or a folder of the parts of all processes."""
    return run_dir / "checkpoints" / f"step-{step:09d}{'.shards' if sharded else '.pt'}"


def list_checkpoints(run_dir: Path) -> list[tuple[int, Path]]:
    """Return (step, path) of every finished checkpoint, oldest first."""
    found = [(_NAME.fullmatch(path.name), path) for path in (run_dir / "checkpoints").glob("step-*")]
    return sorted((int(match[1]), path) for match, path in found if match)


def save_checkpoint(run_dir: Path, state: dict[str, Any]) -> Path:
    """Write ``state`` (with its ``step``) so that a reader finds the old files or the new one, never a part.

    Its checksum is written beside it. Raises CheckpointError when it cannot be written; earlier checkpoints stay
    whole.
    """
    path = checkpoint_path(run_dir, state["step"])
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            hashing = HashingFile(file)
            torch.save({"format": FORMAT, **state}, cast(IO[bytes], hashing))
            hashing.to_disk()
        _write_sum(path, hashing.checksum)
        os.replace(part, path)
        _names_to_disk(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        remove_unfinished(run_dir)
        raise CheckpointError(
            f"cannot write {path}: {error}; earlier checkpoints are whole. "
            "Make room, then run the same command to go on"
        ) from error
    return path


def remove_unfinished(run_dir: Path) -> None:
    """Delete what a write that was broken off, or a process that was killed in one, left behind."""
    folder = run_dir / "checkpoints"
    whole = {path.name for _, path in list_checkpoints(run_dir)}
    for path in folder.glob("step-*"):
        if path.suffix == ".part" and path.is_dir():
            shutil.rmtree(path)
        elif path.suffix == ".part" or (path.suffix == SUM and path.stem not in whole):
            path.unlink()


def prune_checkpoints(run_dir: Path, config: CheckpointConfig) -> None:
    """Delete all but the newest ``keep_last`` and the multiples of ``keep_every``."""
    for step, path in list_checkpoints(run_dir)[: -config.keep_last]:
        if config.keep_every is None or step % config.keep_every:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
                _sum_of(path).unlink(missing_ok=True)


def newest_whole(run_dir: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint of a run that is whole, and a sentence about each newer one that is not."""
    damaged: list[str] = []
    for _, path in reversed(list_checkpoints(run_dir)):
        problem = damage(path)
        if problem is None:
            return path, damaged
        damaged.append(f"{path}: {problem}")
    return None, damaged


def damage(path: Path) -> str | None:
    """Say what is wrong with a checkpoint by its checksums; None where nothing is, or where there are none."""
    try:
        if path.is_dir():
            sums = {path / name: wanted for name, wanted in read_facts(path)["checksums"].items()}
        else:
            beside = _sum_of(path)
            sums = {path: beside.read_text(encoding="utf-8").strip()} if beside.exists() else {}
        bad = [file.name for file, wanted in sums.items() if checksum(file) != wanted]
    except (OSError, CheckpointError) as error:
        return str(error)
    return f"the checksum of {', '.join(bad)} is wrong" if bad else None


def _sum_of(path: Path) -> Path:
    """Return where the checksum of a checkpoint file is kept."""
    return path.with_name(f"{path.name}{SUM}")


def _write_sum(path: Path, checksum: str) -> None:
    """Write the checksum of a checkpoint file; where there was one, a reader finds the old or the new."""
    part = path.with_name(f"{path.name}{SUM}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(f"{checksum}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, _sum_of(path))


def _names_to_disk(folder: Path) -> None:
    """Wait until the names of a folder's files are on the disk, as their bytes are."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def find_checkpoint(source: Path | str) -> Path:
    """Return the checkpoint that ``source`` names: itself, or the newest of a run directory.

    Raises CheckpointError for a directory without one.
    """
    path = Path(source)
    if not path.is_dir() or (path / FACTS).exists():
        return path
    found = list_checkpoints(path)
    if not found:
        raise CheckpointError(f"{source} holds no checkpoint; give a run directory or a .pt file")
    return found[-1][1]


def load_checkpoint(path: Path, *, program: str = "pretrain") -> dict[str, Any]:
    """Read a checkpoint of the verb ``program`` to the CPU.

    Raises CheckpointError when it is missing, damaged, foreign, another verb's or would run code.
    """
    state = _read_parts(path) if path.is_dir() else read_weights(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(
            f"{path} has format {found!r}; this version reads format {FORMAT} of `jepa {program}`"
        )
    if (made_by := state.get("program", "pretrain")) != program:
        raise CheckpointError(f"{path} is of `jepa {made_by}`; one of `jepa {program}` is needed here")
    return state


def _read_parts(path: Path) -> dict[str, Any]:
    """Read a folder of parts into what a single file would hold; the optimizer's tensors go by parameter names."""
    state = read_facts(path)
    for name, value in read_sharded(path).items():
        section, _, rest = name.partition(".")
        state.setdefault(section, {})[rest] = value
    return state
