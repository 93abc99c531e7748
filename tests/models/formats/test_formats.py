"""The registry of formats: found by prefix, by contents, or answered with what is known."""

import pytest
import torch
from safetensors.torch import save_file

from jepa.errors import CheckpointError
from jepa.models.formats import find_format, formats
from jepa.models.formats.base import Format
from jepa.models.formats.exact import Names, load_exactly


def test_every_file_of_the_folder_is_a_format():
    assert {"run", "timm"} <= set(formats())
    assert all(isinstance(each, Format) and each.title for each in formats().values())


def test_a_prefix_decides(tmp_path):
    found, source = find_format("timm:vit_tiny_patch16_224@weights.pt")
    assert found.name == "timm" and source.text == "vit_tiny_patch16_224@weights.pt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere/run", "nowhere/run does not exist; give a run directory"),
        ("vjepa9:weights.pt", "'vjepa9' is no known format; allowed before the colon: .*run.*timm"),
    ],
)
def test_what_is_not_there_is_named(text, message):
    with pytest.raises(CheckpointError, match=message):
        find_format(text)


def test_what_is_none_of_them_is_described(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"some.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"none of the known formats .*a file of some\.weight"):
        find_format(str(path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"a folder of readme\.txt"):
        find_format(str(tmp_path / "folder"))


def test_two_that_fit_are_asked_about(tmp_path, monkeypatch):
    path = tmp_path / "some.safetensors"
    save_file({"some.weight": torch.zeros(2)}, path)
    for each in (formats()["run"], formats()["timm"]):
        monkeypatch.setattr(type(each), "recognises", lambda self, source: True)
    with pytest.raises(CheckpointError, match=r"say which: .*run:.*timm:"):
        find_format(str(path))


def test_every_weight_is_accounted_for():
    layer = torch.nn.Linear(2, 3)
    good = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    load_exactly(layer, good, "file.pt")
    assert layer.weight.unique().item() == 1
    for bad, message in [
        ({"weight": torch.ones(3, 2)}, r"file.pt does not hold the weights of Linear: 1 missing: bias"),
        ({**good, "head.bias": torch.ones(1)}, r"1 left over: head\.bias"),
        ({**good, "weight": torch.ones(4, 2)}, r"1 of another shape: weight \(4, 2\) for \(3, 2\)"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            load_exactly(layer, bad, "file.pt")


def test_names_are_read_both_ways():
    names = Names([("module.norm.", "norm."), ("module.", "body.")])
    theirs = {"module.norm.weight": torch.ones(1), "module.fc.bias": torch.zeros(1)}
    ours = names.ours(theirs, "file.pt")
    assert set(ours) == {"norm.weight", "body.fc.bias"}
    assert set(names.theirs(ours, "file.pt")) == set(theirs)
    with pytest.raises(CheckpointError, match=r"file\.pt holds 1 weights of unknown names: head\.bias"):
        names.ours({"head.bias": torch.ones(1)}, "file.pt")
