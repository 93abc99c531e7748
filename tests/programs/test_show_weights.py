"""`jepa show` says of any file what it is, and reads no more of it than that takes."""

import json
from pathlib import Path

import pytest
import torch

from jepa.errors import CheckpointError, ConfigError
from jepa.models.cost import count_parameters
from jepa.models.formats.exported import Exported
from jepa.programs.show import show
from jepa.programs.show_weights import ShownWeights, show_weights
from jepa.runtime.checkpoint import list_checkpoints
from tests.models.formats.exporting import small, small_world, world_config


def test_an_exported_encoder_is_described_from_its_config(tmp_path: Path) -> None:
    frozen = small()
    Exported().save(frozen, tmp_path / "out")
    (tmp_path / "out" / "model.safetensors").write_bytes(b"not read")
    shown = show(str(tmp_path / "out"))
    assert isinstance(shown, ShownWeights)
    assert (shown.format, shown.kind) == ("jepa", "encoder")
    encoder, predictor = frozen.networks
    assert predictor is not None
    assert shown.parameters == {
        "encoder": sum(p.numel() for p in encoder.parameters()),
        "predictor": sum(p.numel() for p in predictor.parameters()),
    }
    text = shown.render()
    for part in (
        "width 48, depth 2, 4 heads",
        "8 x 8 pixels, 2 frames",
        "rotary",
        "16 x 24 pixels",
        "none stated",
    ):
        assert part in text, part
    assert json.loads(json.dumps(shown.to_dict()))["parameters"] == shown.parameters


def test_an_export_whose_weights_are_a_pointer_says_so(tmp_path: Path) -> None:
    from tests.runtime.bad_files import POINTER

    Exported().save(small(), tmp_path / "out")
    (tmp_path / "out" / "model.safetensors").write_text(POINTER)
    with pytest.raises(CheckpointError, match="git lfs pull"):
        show(str(tmp_path / "out"))


def test_a_world_model_is_described_by_its_parts(tmp_path: Path) -> None:
    model = small_world(world_config())
    Exported().save_world_model(model, tmp_path / "out")
    shown = show_weights(f"jepa:{tmp_path / 'out'}")
    assert shown.kind == "world-model"
    assert set(shown.parameters) == {"frames", "dynamics"}
    assert shown.facts["model step"] == "2 environment steps"
    assert shown.facts["dynamics"].startswith("mlp, width 16, depth 1")


def test_a_checkpoint_says_its_step_and_parts(trained: Path) -> None:
    ((step, path),) = list_checkpoints(trained)
    shown = show(str(path))
    assert isinstance(shown, ShownWeights)
    assert (shown.format, shown.kind, shown.step) == ("run", "encoder", step)
    assert set(shown.parameters) == {"encoder", "target_encoder", "predictor"}
    assert shown.parameters["encoder"] == shown.parameters["target_encoder"]
    assert "of 2 steps" in shown.facts["run"]
    assert "optimizer" in shown.facts["also holds"]
    assert shown.facts["objective"] == "vjepa"


def test_a_checkpoint_of_a_world_model_counts_like_the_model(world: Path) -> None:
    from jepa import load_world_model

    path = list_checkpoints(world)[-1][1]
    shown = show(str(path))
    assert isinstance(shown, ShownWeights)
    assert shown.kind == "world-model"
    model = load_world_model(path, device="cpu")
    assert shown.parameters["dynamics"] == count_parameters(model.dynamics).frozen
    assert shown.parameters["frames"] == count_parameters(model.frames).frozen
    assert "value" in shown.parameters


def test_a_model_of_timm_is_described_without_its_weights() -> None:
    shown = show("timm:vit_tiny_patch16_224")
    assert isinstance(shown, ShownWeights)
    assert shown.facts["encoder"] == "ViT, width 192, depth 12"
    assert shown.facts["resolution"] == "224 x 224 pixels"
    assert shown.parameters == {"encoder": 5_524_416}  # timm's table: 5.72 M with the classifier's 0.19 M


def test_what_is_of_no_known_format_is_named_by_its_keys(tmp_path: Path) -> None:
    torch.save({"some.weight": torch.ones(2, 3), "epoch": 7}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"a file of some\.weight \(2x3\), epoch \(int\); .*FORMAT:"):
        show(str(tmp_path / "other.pt"))
    with pytest.raises(CheckpointError, match="does not exist; give a run directory"):
        show(str(tmp_path / "none.pt"))
    with pytest.raises(CheckpointError, match="among them no weights"):
        show(str(tmp_path.parent))
    with pytest.raises(ConfigError, match=r"--set optim\.steps=1 changes a config, but .* holds weights"):
        show(str(tmp_path / "other.pt"), ["optim.steps=1"])
