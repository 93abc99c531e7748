"""Our encoders of images as folders of timm, read back by timm itself, and folders of timm as encoders."""

import json

import pytest
import timm
import torch
from packaging.version import Version
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from jepa.config.architecture import Architecture
from jepa.config.method import ModelConfig
from jepa.errors import CheckpointError
from jepa.models.build import frozen_networks, untrained_networks
from jepa.models.formats import find_format
from jepa.models.formats.timm import Timm
from jepa.models.zoo import load_encoder, load_frozen

SIZE = {"width": 48, "depth": 3, "heads": 4, "mlp_ratio": 3.5}
POSITIONS = {
    "sincos": {"positions": "sincos"},
    "sincos-2d": {"positions": "sincos-2d"},
    "fitted": {"positions": "sincos-2d", "position_grid": (1, 4, 4)},
    "clip": {"positions": "sincos", "position_grid": (4, 3, 3)},
}


def make_frozen(positions="sincos", *, video=False, image=True, **model):
    """An encoder with weights that all matter, biases and norms too."""
    values = {"size": SIZE, "patch": 8, **POSITIONS.get(positions, {"positions": positions}), **model}
    architecture = Architecture(
        model=ModelConfig.model_validate(values, strict=False),
        video=video,
        image=image,
        resolution=(16, 24),
        mean=(0.5, 0.4, 0.3),
    )
    networks = untrained_networks(architecture, 0)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in networks.encoder.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return frozen_networks(architecture, networks, "somewhere")


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("video", "image"), [(False, True), (True, True), (True, False)])
def test_timm_computes_our_tokens_of_images(tmp_path, positions, video, image):
    frozen = make_frozen(positions, video=video, image=image)
    Timm().save(frozen, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    model = VisionTransformer(num_classes=0, **config["model_args"]).eval()
    model.load_state_dict(load_file(tmp_path / "out" / "model.safetensors"), strict=True)
    images = torch.randn(3, 3, 16, 24)
    with torch.no_grad():
        wanted = frozen.encoder(images.unsqueeze(2))
        torch.testing.assert_close(model.forward_features(images), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(model(images), wanted.mean(1), rtol=0, atol=1e-5)


def test_timm_loads_the_folder_by_its_name(tmp_path):
    if Version(timm.__version__) < Version("1.0.16"):
        pytest.skip("timm reads folders since 1.0.16")
    frozen = make_frozen()
    frozen.encoder.resize_to = 20
    Timm().save(frozen, tmp_path)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        wanted = frozen.encoder(images.unsqueeze(2))
        torch.testing.assert_close(model.forward_features(images), wanted, rtol=0, atol=1e-5)
    settings = timm.data.resolve_model_data_config(model)
    assert settings["input_size"] == (3, 16, 24) and list(settings["mean"]) == [0.5, 0.4, 0.3]
    assert (settings["crop_pct"], settings["interpolation"]) == (16 / 20, "bilinear")


def test_the_folder_is_an_encoder_here_too(tmp_path):
    frozen = make_frozen()
    Timm().save(frozen, tmp_path)
    assert find_format(str(tmp_path))[0].name == "timm"
    again = load_frozen(tmp_path, device="cpu")
    frames = torch.randint(256, (2, 40, 60, 3), dtype=torch.uint8)
    clip = frozen.encoder.preprocess(frames)
    torch.testing.assert_close(again.encoder.preprocess(frames), clip)
    with torch.no_grad():
        tokens = again.encoder(clip).unflatten(1, (2, 6))
        for time in range(2):
            wanted = frozen.encoder(clip[:, :, time : time + 1])
            torch.testing.assert_close(tokens[:, time], wanted, rtol=0, atol=1e-5)
        fresh = again.untrained(0).encoder
        assert fresh(clip).shape == (1, 12, 48) and not torch.allclose(fresh(clip), again.encoder(clip))
    with pytest.raises(CheckpointError, match=r"is TimmEncoder, not an encoder of this library"):
        Timm().save(again, tmp_path / "again")


def test_a_folder_of_timms_own_is_read(tmp_path):
    """As `timm.models.push_to_hf_hub` writes it, the classifier among the weights."""
    torch.manual_seed(0)
    model = timm.create_model("test_vit").eval()
    settings = {key: value for key, value in model.pretrained_cfg.items() if key != "architecture"}
    config = {"architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": settings}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    encoder = load_encoder(tmp_path, device="cpu")
    images = torch.randn(1, 3, *encoder.resolution)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images.unsqueeze(2)), model.forward_features(images)[:, 1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"positions": "rotary"},
            "rotary positions along time, height and width, which no model of timm has",
        ),
        ({"modality_tokens": True}, r"somewhere holds 1 weights of unknown names: image_token"),
    ],
)
def test_what_timm_cannot_express_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(CheckpointError, match=message):
        Timm().save(make_frozen(**changes), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_broken_folders_are_refused(tmp_path):
    Timm().save(make_frozen(), tmp_path)
    good = json.loads((tmp_path / "config.json").read_text())
    for changes, message in [
        ({"architecture": "vit_bas_patch16"}, "has no such model; near: "),
        ({"model_args": good["model_args"] | {"depht": 3}}, r"does not take its model_args \(.*depht"),
        ({"model_args": good["model_args"] | {"depth": 2}}, r"left over: blocks\.2\."),
    ]:
        (tmp_path / "config.json").write_text(json.dumps(good | changes))
        with pytest.raises(CheckpointError, match=message):
            load_encoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"config\.json of timm and no weights: add model\.safetensors or"
    ):
        load_encoder(tmp_path)
