"""Bad input of every format: refused with what it is and what to do, and nothing of it is run."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jepa import load_encoder, load_world_model
from jepa.errors import CheckpointError
from jepa.models.formats import find_format, formats
from tests.runtime.bad_files import BAD, POINTER, write_bad

FILES = [name for name in BAD if name not in ("folder", "missing")]
# What is named rather than recognised: a model of timm has no file of its own.
PLACED = {"timm": "timm:vit_tiny_patch16_224@{path}"}


def named(name: str, path: Path) -> str:
    return PLACED.get(name, f"{name}:{{path}}").format(path=path)


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("name", sorted(formats()))
def test_a_bad_file_is_refused_by_every_format(name: str, case: str, tmp_path: Path) -> None:
    path, message = write_bad(case, tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(named(name, path), device="cpu")
    text = str(caught.value)
    assert str(path) in text
    assert len(text) < 700, text
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_described_where_no_format_is_named(case: str, tmp_path: Path) -> None:
    path, message = write_bad(case, tmp_path)
    for load in (load_encoder, load_world_model):
        with pytest.raises(CheckpointError, match=message):
            load(path, device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", sorted(formats()))
def test_weights_of_something_else_are_refused_by_every_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2)}, path)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(named(name, path), device="cpu")
    assert str(path) in str(caught.value) or "vit_tiny" in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(formats()) - {"timm"}))
@pytest.mark.parametrize("inside", ["nothing", "weights alone", "another config"])
def test_a_folder_of_something_else_is_refused_by_every_format(
    name: str, inside: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if inside != "nothing":
        save_file({"layer.weight": torch.ones(2, 3)}, folder / "model.safetensors")
    if inside == "another config":
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for load in (load_encoder, load_world_model):
        with pytest.raises(CheckpointError) as caught:
            load(f"{name}:{folder}", device="cpu")
        assert "folder" in str(caught.value)


def test_a_folder_without_config_says_what_is_missing(tmp_path: Path) -> None:
    save_file({"layer.weight": torch.ones(2, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors, without the config\.json that says what the weig"
    ):
        find_format(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match=r"none of the known formats .*its config\.json is of 'bert'"):
        find_format(str(tmp_path))
    for text, message in [
        ("[1]", "holds a list, not an object"),
        ("{", "is no JSON"),
        (POINTER, "git lfs pull"),
    ]:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            find_format(str(tmp_path))


def test_an_unknown_file_is_described_by_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"epoch": 3, "model": {"a": torch.ones(1)}, "mean": torch.ones(2, 3)}, path)
    with pytest.raises(
        CheckpointError, match=r"a file of epoch \(int\), model \(1 entries\), mean \(2x3\); where you"
    ):
        find_format(str(path))
