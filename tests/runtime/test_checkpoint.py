"""A checkpoint is whole or absent, and cannot run code."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jepa.config.schema import CheckpointConfig
from jepa.errors import CheckpointError
from jepa.runtime import checkpoint
from jepa.runtime.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    newest_whole,
    prune_checkpoints,
    remove_unfinished,
    save_checkpoint,
)


def save_steps(root: Path, *steps: int) -> None:
    for step in steps:
        save_checkpoint(root, {"step": step, "weights": torch.full((3,), float(step))})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_steps(tmp_path, 7)
    ((step, path),) = list_checkpoints(tmp_path)
    assert step == 7
    assert torch.equal(load_checkpoint(path)["weights"], torch.full((3,), 7.0))


def test_a_write_that_fails_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_steps(tmp_path, 1)

    def full_disk(state: object, file: object) -> None:
        file.write(b"half of a checkpoint")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with pytest.raises(CheckpointError, match="No space left on device; earlier checkpoints are whole"):
        save_steps(tmp_path, 2)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["step-000000001.pt", "step-000000001.pt.blake2b"]


def test_pruning_keeps_the_newest_and_the_milestones(tmp_path: Path) -> None:
    save_steps(tmp_path, 10, 20, 30, 40, 50)
    prune_checkpoints(tmp_path, CheckpointConfig(keep_last=2, keep_every=20))
    assert [step for step, _ in list_checkpoints(tmp_path)] == [20, 40, 50]


class Attack:
    """Runs code when unpickled without care."""

    def __reduce__(self) -> tuple:
        return (exec, ("raise SystemExit('ran code')",))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_checkpoint(path)
    torch.save({"format": 1, "x": Attack()}, path)
    with pytest.raises(CheckpointError, match="would run code when opened"):
        load_checkpoint(path)


def test_damaged_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    save_steps(tmp_path, 3)
    ((_, path),) = list_checkpoints(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="does not exist; give a run directory"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"format": 99}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="has format 99; this version reads format 1"):
        load_checkpoint(tmp_path / "new.pt")


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [flip, lambda path: path.write_bytes(path.read_bytes()[:-20])])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    save_steps(tmp_path, 1, 2)
    assert newest_whole(tmp_path) == (checkpoint_path(tmp_path, 2), [])
    harm(checkpoint_path(tmp_path, 2))
    found, damaged = newest_whole(tmp_path)
    assert found == checkpoint_path(tmp_path, 1)
    assert damaged == [
        f"{checkpoint_path(tmp_path, 2)}: the checksum of {checkpoint_path(tmp_path, 2).name} is wrong"
    ]


def test_a_checkpoint_without_a_checksum_counts_as_whole(tmp_path: Path) -> None:
    """As one that was copied by hand."""
    save_steps(tmp_path, 1)
    path = checkpoint_path(tmp_path, 1)
    path.with_name(f"{path.name}.blake2b").unlink()
    assert newest_whole(tmp_path) == (path, [])


def test_what_a_killed_process_left_behind_is_deleted(tmp_path: Path) -> None:
    save_steps(tmp_path, 1, 2)
    folder = tmp_path / "checkpoints"
    before = sorted(folder.iterdir())
    for name in ("step-000000003.part", "step-000000003.pt.blake2b", "step-000000003.pt.blake2b.part"):
        (folder / name).write_text("half")
    (folder / "step-000000004.part").mkdir()
    (folder / "step-000000004.part" / "__0_0.distcp").write_text("half")
    (folder / "mine.part").write_text("not of a checkpoint")
    assert newest_whole(tmp_path) == (checkpoint_path(tmp_path, 2), [])
    remove_unfinished(tmp_path)
    assert sorted(folder.iterdir()) == [folder / "mine.part", *before]


def test_a_write_that_fails_at_the_checksum_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_steps(tmp_path, 1)
    calls: list[int] = []

    def full_disk(file: int) -> None:
        calls.append(file)
        if len(calls) == 2:  # of the weights, then of their checksum
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full_disk)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_steps(tmp_path, 2)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["step-000000001.pt", "step-000000001.pt.blake2b"]
