"""Programs of torch.export compute what the networks do, at other batch sizes too, and say what they are."""

import itertools
import json
import warnings
import zipfile

import pytest
import torch

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.config.method import ModelConfig
from jepa.config.world_model import VitFrames
from jepa.errors import CheckpointError
from jepa.models import functions
from jepa.models.build import frozen_networks, untrained_networks
from jepa.models.formats import find_format
from jepa.models.formats.torch_export import TorchExport
from jepa.models.frames import build_frames
from jepa.models.zoo import load_encoder
from tests.models.test_frames import write_run
from tests.models.test_world_model import DYNAMICS, A, make_model

SIZE = {"width": 24, "depth": 1, "heads": 2}
READ = ReadConfig(frames_per_clip=4, stride=1, resolution=(16, 24))
POSITIONS = {
    "rotary": {},
    "released": {"rotary_layout": "released", "position_grid": (4, 3, 3)},
    "sincos": {"positions": "sincos"},
    "sincos-2d": {"positions": "sincos-2d", "position_grid": (1, 2, 2)},
}


def make_frozen(positions="rotary", *, video=True, image=False, read=READ):
    """An encoder with fresh weights, as a format's load returns it."""
    model = ModelConfig.model_validate({"size": SIZE, "patch": 8, **POSITIONS[positions]}, strict=False)
    architecture = Architecture(model=model, video=video, image=image, resolution=(16, 24))
    return frozen_networks(architecture, untrained_networks(architecture, 0), "somewhere", read=read)


def load(path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # of torch 2.11, once
        return torch.export.load(path).module()


def slow_but(fast, *axes):
    """All combinations, of which those in ``fast`` are not marked slow."""
    every = itertools.product(*axes)
    return [pytest.param(*one, marks=[] if one in fast else pytest.mark.slow) for one in every]


@pytest.mark.parametrize(
    ("positions", "kind"), slow_but([("rotary", "video"), ("sincos", "image")], POSITIONS, ["video", "image"])
)
def test_the_encoder_is_the_same_function_at_any_batch_size(tmp_path, positions, kind):
    frozen = make_frozen(positions, video=kind == "video", image=kind == "image")
    TorchExport().save(frozen, tmp_path / "new" / "encoder.pt2")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["encoder.pt2"]
    program = load(tmp_path / "new" / "encoder.pt2")
    for batch in (1, 2, 5):
        clip = torch.randn(batch, 3, 4 if kind == "video" else 1, 16, 24)
        with torch.no_grad():
            torch.testing.assert_close(program(clip), frozen.encoder(clip), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_an_encoder_of_images_and_videos_is_two_functions(tmp_path):
    frozen = make_frozen(image=True)
    TorchExport().save(frozen, tmp_path / "encoder")
    for name, length in (("video", 4), ("image", 1)):
        clip = torch.randn(1, 3, length, 16, 24)
        with torch.no_grad():
            wanted = frozen.encoder(clip)
        torch.testing.assert_close(load(tmp_path / "encoder" / f"{name}.pt2")(clip), wanted)


def test_two_functions_are_no_file(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"these are 2 functions; give a folder, for video.pt2 and image"
    ):
        TorchExport().save(make_frozen(image=True), tmp_path / "encoder.pt2")
    with pytest.raises(CheckpointError, match=r"give a folder, for encode.pt2 and step"):
        TorchExport().save_world_model(make_model("mlp"), tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("read", "frames"), [(READ, 4), (None, 8)])
def test_clips_are_as_long_as_in_training(read, frames):
    frozen = make_frozen("released", read=read)
    assert [each.shapes["clip"] for each in functions.functions_of(frozen)] == [("batch", 3, frames, 16, 24)]


@pytest.mark.parametrize(("dynamics", "proprio"), slow_but([("tokens", 3), ("mlp", 0)], DYNAMICS, [0, 3]))
def test_a_step_takes_any_batch_and_any_history_in_the_units_of_the_environment(tmp_path, dynamics, proprio):
    model = make_model(dynamics, proprio=proprio)
    TorchExport().save_world_model(model, tmp_path)
    encode, step = load(tmp_path / "encode.pt2"), load(tmp_path / "step.pt2")
    for batch, time in ((1, 1), (3, 1), (1, 2), (2, 5)):  # a history of 3 frames
        frames = torch.randint(256, (batch, time, 3, 32, 32), dtype=torch.uint8)
        z = encode(frames.flatten(0, 1)).unflatten(0, (batch, time))
        with torch.no_grad():
            torch.testing.assert_close(z, model.frames(frames), rtol=0, atol=1e-6)
        actions = 5 * torch.randn(batch, time, A)
        inputs = {"z": z, "actions": actions}
        past = {"past_actions": actions[:, :-1]}
        if proprio:
            inputs["proprio"] = past["proprio"] = 5 * torch.randn(batch, time, proprio)
        with torch.no_grad():
            wanted = model.rollout(z, actions[:, -1:], **past)[:, 0]
        torch.testing.assert_close(step(*inputs.values()), wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["frozen", "vit"])
def test_other_frame_encoders(tmp_path, kind):
    if kind == "frozen":
        model = make_model("tokens", frames={"kind": "frozen", "source": write_run(tmp_path / "run")})
    else:
        model = make_model("adaln")
        model.frames = build_frames(VitFrames(kind="vit", size="nano", patch=8, dim=10), resolution=32).eval()
    TorchExport().save_world_model(model, tmp_path / "out")
    pixels = torch.randint(256, (3, 1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        wanted = model.frames(pixels)[:, 0]
    torch.testing.assert_close(load(tmp_path / "out" / "encode.pt2")(pixels[:, 0]), wanted, rtol=0, atol=1e-5)


def test_other_precisions_are_written_as_float32_and_left_alone(tmp_path):
    frozen = make_frozen(video=False, image=True)
    frozen.encoder.bfloat16()
    TorchExport().save(frozen, tmp_path / "encoder.pt2")
    clip = torch.randn(1, 3, 1, 16, 24)
    assert load(tmp_path / "encoder.pt2")(clip).dtype == torch.float32
    assert next(frozen.encoder.parameters()).dtype == torch.bfloat16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of the two functions of a world model, and one of an encoder."""
    path = tmp_path_factory.mktemp("programs")
    TorchExport().save_world_model(make_model("mlp"), path / "model")
    TorchExport().save(make_frozen("sincos"), path / "encoder.pt2")
    return path


def test_it_says_what_it_is_and_how_to_run_it(folder):
    found, source = find_format(str(folder / "encoder.pt2"))
    assert found.name == "torch-export" and not found.holds_world_model(source)
    with pytest.raises(
        CheckpointError,
        match=r"a program of torch\.export: .*load\(.*\(clip \(batch, 3, 4, 16, 24\) .* -> tokens",
    ):
        load_encoder(folder / "encoder.pt2")
    with zipfile.ZipFile(folder / "encoder.pt2") as archive:
        notes = json.loads(archive.read("encoder/extra/jepa.json"))
    assert notes["mean"] == "[0.485, 0.456, 0.406]" and notes["output"] == "tokens (batch, 12, 24)"


def test_a_folder_of_programs_is_recognised(folder):
    found, source = find_format(str(folder / "model"))
    assert found.name == "torch-export" and found.holds_world_model(source)
    with pytest.raises(CheckpointError, match=r"it can be run, not loaded .*encode\.pt2"):
        found.load_world_model(source)


def test_what_only_has_its_name_is_refused(tmp_path):
    (tmp_path / "bad.pt2").write_text("no program")
    with pytest.raises(CheckpointError, match=r"bad\.pt2 is not a program of torch\.export: damaged"):
        load_encoder(tmp_path / "bad.pt2")


def test_a_program_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(functions, "TOLERANCE", -1.0)
    with pytest.raises(
        CheckpointError, match=r"encoder\.pt2 does not compute what the network does.*differ by"
    ):
        TorchExport().save(make_frozen(), tmp_path / "encoder.pt2")
    assert list(tmp_path.iterdir()) == []
