"""Whatever lies at a path, nothing of it runs, and the message says what it is and what to do."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jepa.errors import CheckpointError
from jepa.runtime.weights import check_file, find_weights, read_weights
from tests.runtime.bad_files import BAD, Attack, write_bad


def test_torch_and_safetensors_are_told_by_what_they_begin_with(tmp_path: Path) -> None:
    weights = {"a": torch.arange(300.0)}
    torch.save(weights, tmp_path / "zip.safetensors-not")
    torch.save(weights, tmp_path / "legacy.pth.tar", _use_new_zipfile_serialization=False)
    save_file(weights, tmp_path / "tensors.bin")
    for path in tmp_path.iterdir():
        for mapped in (False, True):
            assert torch.equal(read_weights(path, mapped=mapped)["a"], weights["a"])


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"  # no name that would tell
    for length in range(1, 200):
        save_file({"n" * length: torch.ones(1)}, path)
        if path.read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail("no header of 128 bytes was found")
    assert list(read_weights(path)) == ["n" * length]


def test_mapped_tensors_are_read_when_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    mapped = read_weights(path, mapped=True)["a"]
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(path) in maps.read_text()
    mapped += 1  # in memory alone
    assert not read_weights(path)["a"].any()


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("mapped", [False, True])
def test_bad_files_are_named_and_run_nothing(name: str, mapped: bool, tmp_path: Path) -> None:
    path, message = write_bad(name, tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_weights(path, mapped=mapped)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch's advice to run the code anyway
    assert not (tmp_path / "ran").exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Attack(tmp_path / "ran"), protocol=2))
    assert (tmp_path / "ran").exists()


def write_shards(folder: Path) -> dict[str, torch.Tensor]:
    weights = {"a": torch.ones(2), "b": torch.zeros(3), "c": torch.full((1,), 7.0)}
    places = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    for shard in set(places.values()):
        save_file({name: value for name, value in weights.items() if places[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return weights


def test_shards_are_read_together(tmp_path: Path) -> None:
    weights = write_shards(tmp_path)
    read = read_weights(find_weights(tmp_path))
    assert set(read) == set(weights)
    assert all(torch.equal(read[name], value) for name, value in weights.items())


def test_shards_that_do_not_fit_their_index_are_named(tmp_path: Path) -> None:
    write_shards(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"names 2 files, of which 1 are missing: two\.safetensors; fetch"
    ):
        read_weights(index)
    save_file({"d": torch.ones(1)}, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match="do not hold the same weights: c, d are in one of both alone"):
        read_weights(index)
    index.write_text(json.dumps({"weight_map": {"a": "../one.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"names files outside of its folder: \.\./one"):
        read_weights(index)
    for text in ("{", "{}", '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(CheckpointError, match="is no index of shards .*needs a weight_map"):
            read_weights(index)


def test_a_folder_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds neither model\.safetensors nor .*, but nothing; copy"):
        find_weights(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"but notes\.txt; copy the weights into it"):
        find_weights(tmp_path)


def test_the_pointer_names_the_size_of_the_file(tmp_path: Path) -> None:
    path, _ = write_bad("pointer", tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"4,211,992,104 bytes are still .*`git lfs pull` in {tmp_path}"
    ):
        check_file(path)
