"""Our own format: the same outputs, everything said, and no other file believed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from jepa import load_encoder, load_world_model
from jepa.config.exported import Notes, Number
from jepa.config.world_model import WorldModelArchitecture
from jepa.errors import CheckpointError
from jepa.models.formats import find_format
from jepa.models.formats.base import Source
from jepa.models.formats.exported import Exported, tails
from jepa.models.timm_vit import load_timm
from jepa.models.world_model import build_value, build_world_model
from jepa.models.zoo import load_frozen
from jepa.types import Masks
from tests.models.formats.exporting import ARCHITECTURE, shaken, small, small_world, world_config

FROZEN = {
    "dynamics": {"kind": "tokens", "width": 16, "depth": 1, "heads": 2, "history": 2},
    "objective": {"kind": "ac"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported encoder."""
    Exported().save(small(), tmp_path / "exported")
    return tmp_path / "exported"


def edited(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def outputs(encoder, predictor, clip):
    grid = encoder.grid(clip.shape)
    context, target = torch.arange(grid.tokens).expand(len(clip), -1).tensor_split(2, dim=1)
    return encoder(clip), predictor(encoder(clip, keep=context), Masks(context, target), grid, 1)


def test_an_encoder_comes_back_with_all_that_is_known_of_it(folder):
    ours, again = small(), load_frozen(folder, device="cpu")
    clip = torch.randn(2, 3, 4, 16, 24)
    for one, other in zip(outputs(*ours.networks, clip), outputs(*again.networks, clip), strict=True):
        assert torch.equal(one, other)
    image = torch.randn(1, 3, 1, 16, 24)
    assert torch.equal(ours.encoder(image), again.encoder(image))
    assert (again.architecture, again.read, again.pattern, again.seed) == (ARCHITECTURE, ours.read, 1, 5)
    assert again.shape == ours.shape
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_it_is_recognised_moved_and_named(folder, tmp_path):
    moved = tmp_path / "elsewhere" / "weights"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    for text in (str(moved), f"jepa:{moved}"):
        assert find_format(text)[0].name == "jepa"
        assert load_encoder(text, device="cpu").dim == 48


def test_nothing_of_this_machine_is_written(folder, tmp_path):
    Exported().save_world_model(small_world(world_config()), tmp_path / "world")
    for path in (folder, tmp_path / "world"):
        for name in ("config.json", "README.md"):
            assert "/home/me" not in (path / name).read_text()
    config = Exported().read_config(Source(str(tmp_path / "world"))).run
    assert [source.path for source in config.data.sources] == ["rooms/train", "halls/train"]
    assert config.run_dir == "world"


@pytest.mark.parametrize("proprio_size", [0, 3])
def test_a_world_model_imagines_the_same(tmp_path, proprio_size):
    data = {**world_config().data.model_dump(), "proprio": bool(proprio_size)}
    config = world_config(data=data, value={"width": 8, "dim": 4})
    model = small_world(config, proprio_size=proprio_size)
    model.value = shaken(build_value(config.value, model))
    Exported().save_world_model(model, tmp_path / "world")
    again = load_world_model(tmp_path / "world", device="cpu")
    frames = torch.randint(0, 256, (2, 2, 20, 20, 3), dtype=torch.uint8)
    actions, past = torch.randn(2, 3, 4), torch.randn(2, 1, 4)
    proprio = torch.randn(2, 2, 3) if proprio_size else None
    z = model.encode(frames)
    assert torch.equal(z, again.encode(frames))
    ours = model.rollout(z, actions, past_actions=past, proprio=proprio)
    assert torch.equal(ours, again.rollout(z, actions, past_actions=past, proprio=proprio))
    assert torch.equal(model.value(z, z.flip(0)), again.value(z, z.flip(0)))


def test_the_frozen_encoder_travels_with_its_world_model(folder, tmp_path):
    config = world_config({"kind": "frozen", "source": str(folder)}, **FROZEN)
    model = small_world(config)
    Exported().save_world_model(model, tmp_path / "world")
    moved = tmp_path / "other" / "place"
    shutil.copytree(tmp_path / "world", moved)
    for gone in (folder, tmp_path / "world"):
        shutil.rmtree(gone)
    again = load_world_model(moved, device="cpu")
    frames = torch.randint(0, 256, (1, 2, 16, 16, 3), dtype=torch.uint8)
    z = model.encode(frames)
    assert torch.equal(z, again.encode(frames))
    actions = torch.randn(1, 2, 4)
    past = torch.randn(1, 1, 4)
    assert torch.equal(
        model.rollout(z, actions, past_actions=past), again.rollout(z, actions, past_actions=past)
    )
    assert str(tmp_path) not in (moved / "config.json").read_text() + (moved / "README.md").read_text()
    # And once more, from the exported one.
    Exported().save_world_model(again, tmp_path / "third")
    assert torch.equal(z, load_world_model(tmp_path / "third", device="cpu").encode(frames))


def test_a_frozen_encoder_of_timm_travels_as_a_file_or_as_a_name(tmp_path, monkeypatch):
    name = "vit_tiny_patch16_224"
    weights = tmp_path / "own.safetensors"
    encoder = shaken(load_timm_untrained(name))
    save_file({key.removeprefix("model."): value for key, value in encoder.state_dict().items()}, weights)
    source = f"timm:{name}@{weights}"
    model = small_world(world_config({"kind": "frozen", "source": source}, **FROZEN))
    Exported().save_world_model(model, tmp_path / "world")
    weights.unlink()
    again = load_world_model(tmp_path / "world", device="cpu")
    frames = torch.randint(0, 256, (1, 1, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(model.encode(frames), again.encode(frames))
    # Published weights are named, and fetched again.
    published = load_timm(f"{name}@{tmp_path / 'world' / 'encoder' / 'model.safetensors'}")
    monkeypatch.setattr("jepa.models.formats.timm.load_timm", lambda text: published)
    named = small_world(world_config({"kind": "frozen", "source": f"timm:{name}"}, **FROZEN))
    Exported().save_world_model(named, tmp_path / "named")
    assert not (tmp_path / "named" / "encoder").exists()
    assert Exported().read_config(Source(str(tmp_path / "named"))).run.frames.source == f"timm:{name}"


def load_timm_untrained(name: str):
    from jepa.models.timm_vit import TimmEncoder

    torch.manual_seed(0)
    return TimmEncoder(name)


def test_the_card_is_read_by_the_hub_and_by_people(folder):
    numbers = (
        Number(what="motion: pretrained, linear head", measure="accuracy", value=0.75, low=0.7, high=0.8),
        Number(what="motion: raw pixels, linear head", measure="accuracy", value=0.3, deviation=0.02),
    )
    notes = Notes(
        licence="cc-by-nc-4.0", training="8 steps of vjepa", data=("ssv2.csv (csv)",), numbers=numbers
    )
    Exported().annotate(folder, notes)
    text = (folder / "README.md").read_text()
    front, body = text.removeprefix("---\n").split("\n---\n")
    assert yaml.safe_load(front) == {
        "library_name": "jepa",
        "license": "cc-by-nc-4.0",
        "tags": ["jepa", "self-supervised-learning", "video"],
    }
    for part in (
        "# small\n",
        "width 48, depth 2, 4 heads",
        "16 x 24 pixels",
        "4 frames, one of 2 of the file",
        "8 steps of vjepa. Seed 5.",
        "- ssv2.csv (csv)",
        "| motion: pretrained, linear head | accuracy | 0.75 | 0.7 to 0.8 (95 %) |",
        "± 0.02 over seeds",
        'jepa.load_encoder("path/to/this/folder")',
        "cc-by-nc-4.0",
    ):
        assert part in body, part
    assert Exported().read_config(Source(str(folder))).notes == notes
    load_encoder(folder, device="cpu")


def test_a_licence_that_is_not_stated_is_not_made_up(folder):
    text = (folder / "README.md").read_text()
    assert "license:" not in text
    assert "None stated: ask whoever trained" in text


def test_what_config_json_must_say_is_said(folder):
    edited(folder, version=2, jepa="9.0")
    with pytest.raises(
        CheckpointError, match=r"version 2 of the format, written by jepa 9\.0; .*install a newer jepa"
    ):
        load_encoder(folder)
    edited(folder, version=1, colour="blue", seed="five")
    with pytest.raises(
        CheckpointError, match=r"config\.json is not as jepa .*colour: unknown key.*seed: expected an integer"
    ):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "world-model"}, "kind world-model needs run or world_model alone, got architecture"),
        ({"architecture": None}, "kind encoder needs architecture alone, got none"),
        ({"format": "hf"}, "none of the known formats"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(folder, changes, message):
    edited(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_encoder(folder)


def test_weights_of_another_shape_or_name_are_listed(folder):
    path = folder / "model.safetensors"
    state = load_file(path)
    state["encoder.norm.weight"] = torch.zeros(7)
    state["head.bias"] = state.pop("predictor.norm.bias")
    save_file(state, path)
    message = r"1 missing: predictor\.norm\.bias; 1 left over: head\.bias; 1 of another shape: encoder\.norm\.weight"
    with pytest.raises(CheckpointError, match=message):
        load_encoder(folder)


def test_another_architecture_than_the_weights_is_refused(folder):
    wrong = ARCHITECTURE.model_dump(mode="json")
    wrong["model"]["size"]["depth"] = 3
    edited(folder, architecture=wrong)
    with pytest.raises(CheckpointError, match=r"\d+ missing: encoder\.blocks\.\S*2\.\S+"):
        load_encoder(folder)


def test_files_that_are_missing_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"holds neither model\.safetensors nor .*but README\.md, config\.json"
    ):
        load_encoder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds no config\.json, which says what its weights are"):
        load_encoder(f"jepa:{folder}")


def test_one_kind_is_not_loaded_as_the_other(folder, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"holds an encoder, no world model; load it with jepa\.load_encoder"
    ):
        load_world_model(folder)
    Exported().save_world_model(small_world(world_config()), tmp_path / "world")
    with pytest.raises(CheckpointError, match=r"holds a world model, no encoder .*jepa\.load_world_model"):
        load_encoder(tmp_path / "world")


def test_what_cannot_be_described_is_refused_before_anything_is_written(tmp_path):
    from dataclasses import replace

    with pytest.raises(CheckpointError, match="network of another library"):
        Exported().save(replace(small(), architecture=None, source="timm:vit"), tmp_path / "out")
    model = small_world(world_config())
    model.architecture = None
    with pytest.raises(CheckpointError, match="does not say what it was built from"):
        Exported().save_world_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ends_of_paths_tell_them_apart():
    assert tails(["/a/b/train.csv"]) == ["train.csv"]
    assert tails(["/a/b/train", "/a/c/train"]) == ["b/train", "c/train"]
    assert tails(["/a/x", "/a/x", "/a/y"]) == ["x", "x", "y"]
    assert tails(["x", "/b/x"]) == ["x", "b/x"]
    assert tails([]) == []


def test_a_world_model_that_was_trained_elsewhere_comes_back_too(folder, tmp_path):
    dynamics = {"kind": "tokens", "width": 16, "depth": 1, "heads": 2, "history": 2, "next_state": "pose"}
    values = {"frames": {"kind": "frozen", "source": str(folder)}, "dynamics": dynamics, "resolution": 16}
    architecture = WorldModelArchitecture.model_validate(values, strict=False)
    torch.manual_seed(0)
    model = shaken(build_world_model(architecture, action_size=7, proprio_size=7)).eval()
    assert model.config is None
    Exported().save_world_model(model, tmp_path / "world")
    shutil.rmtree(folder)
    again = load_world_model(tmp_path / "world", device="cpu")
    assert (again.config, again.next_state) == (None, "pose")
    frames = torch.randint(0, 256, (1, 2, 16, 16, 3), dtype=torch.uint8)
    z, actions, past, pose = (
        model.encode(frames),
        torch.randn(1, 2, 7),
        torch.randn(1, 1, 7),
        torch.randn(1, 2, 7),
    )
    with torch.no_grad():
        ours, theirs = (each.rollout(z, actions, past_actions=past, proprio=pose) for each in (model, again))
    assert torch.equal(ours, theirs)
    assert "tokens, depth 1, width 16" in (tmp_path / "world" / "README.md").read_text()
