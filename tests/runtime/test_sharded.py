"""Checkpoints in parts: read by one process, and never able to run code."""

import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from jepa.errors import CheckpointError
from jepa.runtime.checkpoint import checkpoint_path, damage, find_checkpoint, load_checkpoint, newest_whole
from jepa.runtime.sharded import ShardedWriter, read_facts, read_sharded
from tests.programs.together import free_port


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with checkpoints in parts of steps 1 and 2, written by a group of one."""
    root = tmp_path_factory.mktemp("run")
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{free_port()}", rank=0, world_size=1)
    try:
        writer = ShardedWriter(main=True)
        for step in (1, 2):
            tensors = {
                "objective.weight": torch.full((3, 2), float(step)),
                "optimizer.weight/step": torch.ones(()),
            }
            facts = {"format": 1, "step": step, "program": "pretrain", "config": {}}
            writer.save(checkpoint_path(root, step, sharded=True), tensors, facts)
        writer.wait()
        writer.close()
    finally:
        dist.destroy_process_group()
    return root


def copy(run: Path, into: Path) -> Path:
    import shutil

    shutil.copytree(run, into / "run")
    return into / "run"


def test_one_process_reads_the_whole(run: Path) -> None:
    state = load_checkpoint(find_checkpoint(run))
    assert state["step"] == 2
    assert torch.equal(state["objective"]["weight"], torch.full((3, 2), 2.0))
    assert set(state["optimizer"]) == {"weight/step"}
    assert not list((run / "checkpoints").glob("*.part"))


@pytest.mark.parametrize("what", ["parts", "metadata", "facts"])
def test_damage_is_noticed_and_the_one_before_is_found(run: Path, tmp_path: Path, what: str) -> None:
    own = copy(run, tmp_path)
    folder = find_checkpoint(own)
    assert damage(folder) is None
    file = {
        "parts": next(folder.glob("*.distcp")),
        "metadata": folder / ".metadata",
        "facts": folder / "facts.json",
    }
    data = bytearray(file[what].read_bytes())
    data[len(data) // 2] ^= 1 << 7
    file[what].write_bytes(data)
    found, damaged = newest_whole(own)
    assert found == checkpoint_path(own, 1, sharded=True)
    assert len(damaged) == 1 and damaged[0].startswith(str(folder))


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (exec, (f"open({str(self.path)!r}, 'w')",))


def test_metadata_that_would_run_code_is_refused(run: Path, tmp_path: Path) -> None:
    folder = find_checkpoint(copy(run, tmp_path))
    (folder / ".metadata").write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match=r"it names builtins\.exec\); it is damaged or holds code"):
        read_sharded(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["load", "hub.load", "compile", "nn.Module"])
def test_no_function_of_torch_is_called_by_metadata(run: Path, tmp_path: Path, name: str) -> None:
    folder = find_checkpoint(copy(run, tmp_path))
    module, _, attribute = f"torch.{name}".rpartition(".")
    (folder / ".metadata").write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(CheckpointError, match="damaged or holds code"):
        read_sharded(folder)


def test_a_folder_that_is_not_finished_is_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no whole checkpoint"):
        read_facts(tmp_path)
