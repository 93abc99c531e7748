"""Programs in ONNX compute what the networks do when onnxruntime runs them, at other batch sizes too."""

import json
import sys
import warnings

import pytest
import torch

from jepa.config.world_model import VitFrames
from jepa.errors import CheckpointError, RunError
from jepa.models import functions
from jepa.models.formats import find_format, onnx
from jepa.models.formats.onnx import Onnx
from jepa.models.frames import build_frames
from jepa.models.zoo import load_encoder
from tests.models.formats.test_torch_export import POSITIONS, make_frozen, slow_but
from tests.models.test_frames import write_run
from tests.models.test_world_model import DYNAMICS, A, make_model

pytestmark = pytest.mark.slow  # the exporter takes seconds for each program


@pytest.fixture(autouse=True, scope="module")
def packages():
    """Optional for users: writing needs all three."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)


def run(path, **inputs):
    """Run a program without anything of ours."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])


@pytest.mark.parametrize(
    ("positions", "kind"), slow_but([("sincos-2d", "image")], POSITIONS, ["video", "image"])
)
def test_the_encoder_is_the_same_function_at_any_batch_size(tmp_path, positions, kind):
    frozen = make_frozen(positions, video=kind == "video", image=kind == "image")
    Onnx().save(frozen, tmp_path / "encoder.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]
    for batch in (1, 2, 5):
        clip = torch.randn(batch, 3, 4 if kind == "video" else 1, 16, 24)
        with torch.no_grad():
            wanted = frozen.encoder(clip)
        torch.testing.assert_close(run(tmp_path / "encoder.onnx", clip=clip), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dynamics", "proprio"), slow_but([("mlp", 3)], DYNAMICS, [0, 3]))
def test_a_step_takes_any_batch_and_any_history_in_the_units_of_the_environment(tmp_path, dynamics, proprio):
    model = make_model(dynamics, proprio=proprio)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Onnx().save_world_model(model, tmp_path)
    for batch, time in ((1, 1), (3, 1), (1, 2), (2, 5)):  # a history of 3 frames
        frames = torch.randint(256, (batch, time, 3, 32, 32), dtype=torch.uint8)
        z = run(tmp_path / "encode.onnx", frames=frames.flatten(0, 1)).unflatten(0, (batch, time))
        with torch.no_grad():
            torch.testing.assert_close(z, model.frames(frames), rtol=0, atol=1e-5)
        actions = 5 * torch.randn(batch, time, A)
        inputs = {"z": z, "actions": actions}
        past = {"past_actions": actions[:, :-1]}
        if proprio:
            inputs["proprio"] = past["proprio"] = 5 * torch.randn(batch, time, proprio)
        with torch.no_grad():
            wanted = model.rollout(z, actions[:, -1:], **past)[:, 0]
        torch.testing.assert_close(run(tmp_path / "step.onnx", **inputs), wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["frozen", "vit"])
def test_other_frame_encoders(tmp_path, kind):
    if kind == "frozen":
        model = make_model("tokens", frames={"kind": "frozen", "source": write_run(tmp_path / "run")})
    else:
        model = make_model("adaln")
        model.frames = build_frames(VitFrames(kind="vit", size="nano", patch=8, dim=10), resolution=32).eval()
    Onnx().save_world_model(model, tmp_path / "out")
    pixels = torch.randint(256, (3, 1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        wanted = model.frames(pixels)[:, 0]
    found = run(tmp_path / "out" / "encode.onnx", frames=pixels[:, 0])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def image(packages, tmp_path_factory):
    """An encoder of images, its weights in a file beside it, as those of large ones are."""
    path = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "LARGEST", 0)
        Onnx().save(make_frozen("sincos", video=False, image=True), path)
    return path


def test_weights_of_large_models_lie_beside_it(image):
    assert sorted(path.name for path in image.parent.iterdir()) == ["encoder.onnx", "encoder.onnx.data"]
    clip = torch.randn(4, 3, 1, 16, 24)
    with torch.no_grad():
        wanted = make_frozen("sincos", video=False, image=True).encoder(clip)
    torch.testing.assert_close(run(image, clip=clip), wanted, rtol=0, atol=1e-5)


def test_it_says_what_it_is_and_how_to_run_it(image):
    import onnx as package

    found, source = find_format(str(image))
    assert found.name == "onnx" and not found.holds_world_model(source)
    with pytest.raises(
        CheckpointError, match=r"a program in ONNX: .* onnxruntime\.InferenceSession\('.*onnx'\)"
    ):
        load_encoder(image)
    model = package.load(image, load_external_data=False)
    notes = {each.key: each.value for each in model.metadata_props}
    assert json.loads(notes["resolution"]) == [16, 24] and json.loads(notes["std"]) == [0.229, 0.224, 0.225]
    assert notes["input"].startswith("clip (batch, 3, 1, 16, 24) float32") and notes["jepa"]
    assert [each.version for each in model.opset_import if not each.domain] == [onnx.OPSET]


def test_what_only_has_its_name_is_refused(tmp_path):
    (tmp_path / "bad.onnx").write_text("no program")
    with pytest.raises(CheckpointError, match=r"bad\.onnx is not a program in ONNX: damaged"):
        load_encoder(tmp_path / "bad.onnx")


def test_a_program_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(functions, "TOLERANCE", -1.0)
    with pytest.raises(CheckpointError, match=r"step\.onnx does not compute|encode\.onnx does not compute"):
        Onnx().save_world_model(make_model("mlp"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(RunError, match=r"onnxscript cannot be imported .*pip install 'jepa\[onnx\]'"):
        Onnx().save(make_frozen(), tmp_path / "encoder.onnx")
