"""Vision transformers of timm as encoders of clips."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from jepa.errors import CheckpointError
from jepa.models.timm_vit import TimmEncoder, load_timm
from jepa.models.zoo import load_encoder, load_frozen
from jepa.types import Grid

NAME = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights as timm saves them, classifier included."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("timm") / "vit.safetensors"
    save_file(timm.create_model(NAME).state_dict(), path)
    return path


def test_tokens_are_those_of_timm_frame_by_frame(weights):
    encoder = load_encoder(f"timm:{NAME}@{weights}", device="cpu")
    torch.manual_seed(1)
    reference = timm.create_model(NAME).eval()
    clip = torch.randn(2, 3, 2, 224, 224)
    with torch.inference_mode():
        tokens = encoder(clip)
        wanted = torch.stack([reference.forward_features(clip[:, :, t])[:, 1:] for t in range(2)], dim=1)
    assert encoder.grid(clip.shape) == Grid(2, 14, 14)
    torch.testing.assert_close(tokens, wanted.flatten(1, 2))


def test_frames_do_not_see_each_other(weights):
    encoder = load_encoder(f"timm:{NAME}@{weights}", device="cpu")
    clip = torch.randn(1, 3, 3, 64, 64)
    changed = clip.clone()
    changed[:, :, 2] += 1
    with torch.inference_mode():
        before, after = encoder(clip).view(3, -1), encoder(changed).view(3, -1)
    torch.testing.assert_close(before[:2], after[:2])
    assert not torch.allclose(before[2], after[2])


def test_it_brings_its_own_preprocessing_and_takes_other_sizes(weights):
    encoder = load_encoder(f"timm:{NAME}@{weights}", device="cpu")
    assert encoder.resolution == (224, 224) and encoder.mean == (0.5, 0.5, 0.5)
    clip = encoder.preprocess(torch.zeros(1, 50, 70, 3, dtype=torch.uint8))
    assert clip.shape == (1, 3, 1, 224, 224) and clip.unique().tolist() == [-1]
    assert encoder.embed(torch.randn(2, 3, 1, 96, 64)).shape == (2, 192)


SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
FAMILIES = {  # model: (tokens before the patches, arguments that make it small)
    "vit_small_patch14_dinov2": (1, SMALL),
    "vit_small_patch14_reg4_dinov2": (5, SMALL),
    "vit_small_patch16_dinov3": (5, SMALL),
    "vit_base_patch16_siglip_224": (0, SMALL),
    "vit_base_patch16_clip_224": (1, SMALL),
    "vit_base_patch16_224.mae": (1, SMALL),
    "vit_medium_patch16_gap_240": (0, SMALL),
    "eva02_tiny_patch14_224": (1, SMALL),
    "beit_base_patch16_224": (1, SMALL),
    "deit3_small_patch16_224": (1, SMALL),
    "deit_tiny_distilled_patch16_224": (2, SMALL),
    "vit_relpos_small_patch16_224": (0, SMALL),
    "cait_xxs24_224": (1, SMALL),
    "naflexvit_base_patch16_gap": (4, SMALL),
    "vit_pe_core_tiny_patch16_384": (1, SMALL),
}
FIXED = {"beit_base_patch16_224", "vit_relpos_small_patch16_224", "cait_xxs24_224"}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_its_patches_as_timm_has_them(name):
    prefix, arguments = FAMILIES[name]
    torch.manual_seed(0)
    encoder = TimmEncoder(name, stored={"model_args": arguments}).eval()
    torch.manual_seed(0)
    reference = timm.create_model(name, num_classes=0, **arguments).eval()
    height, width = encoder.resolution
    clip = torch.randn(1, 3, 1, height, width)
    with torch.no_grad():
        tokens = encoder(clip)
        wanted = reference.forward_features(clip[:, :, 0])[:, prefix:]
        if hasattr(reference, "get_intermediate_layers"):
            last = reference.get_intermediate_layers(clip[:, :, 0], n=1, norm=True)[0]
            torch.testing.assert_close(tokens, last, rtol=0, atol=1e-5)
    torch.testing.assert_close(tokens, wanted, rtol=0, atol=1e-5)
    assert encoder.grid(clip.shape) == Grid(1, height // encoder.patch, width // encoder.patch)
    assert (encoder.dim, encoder.resolution) == (32, reference.pretrained_cfg["input_size"][1:])
    assert encoder.takes_any_size == (name not in FIXED)


@pytest.mark.parametrize(
    "name", ["vit_small_patch16_dinov3", "vit_base_patch16_siglip_224", "naflexvit_base_patch16_gap"]
)
def test_frames_need_not_be_square(name):
    encoder = TimmEncoder(name, stored={"model_args": SMALL}).eval()
    clip = torch.randn(2, 3, 2, 32, 64)
    with torch.no_grad():
        assert encoder(clip).shape == (2, 16, 32) and encoder.grid(clip.shape) == Grid(2, 2, 4)
    with pytest.raises(ValueError, match=r"H, W of 16, got \(2, 3, 2, 32, 60\)"):
        encoder(clip[..., :60])


def test_a_model_of_one_size_says_so():
    encoder = TimmEncoder("cait_xxs24_224", stored={"model_args": SMALL})
    with pytest.raises(ValueError, match=r"takes frames of \(224, 224\) pixels alone, got \(32, 64\)"):
        encoder.grid((1, 3, 1, 32, 64))


@pytest.mark.parametrize("name", ["test_vit", "test_vit_relpos"])
@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_files_may_wrap_their_weights(tmp_path, name, wrapper):
    path, model = tmp_path / "wrapped.pth", timm.create_model(name)
    torch.save({wrapper: model.state_dict(), "epoch": 3}, path)
    found = load_timm(f"{name}@{path}").model.state_dict()
    assert all(torch.equal(found[key], model.state_dict()[key]) for key in found)


def test_every_weight_of_a_file_but_the_classifier_is_accounted_for(tmp_path, weights):
    state = load_file(weights)
    for bad, message in [
        ({**state, "blocks.0.extra": torch.zeros(1)}, r"1 left over: blocks\.0\.extra"),
        ({name: value for name, value in state.items() if name != "norm.bias"}, r"1 missing: norm\.bias"),
    ]:
        save_file(bad, tmp_path / "bad.safetensors")
        with pytest.raises(CheckpointError, match=message):
            load_timm(f"{NAME}@{tmp_path / 'bad.safetensors'}")


def test_a_file_of_the_models_authors_is_read_by_timms_rules(tmp_path, capsys):
    """DINOv3's own names for registers and layer scales; biases that are always 0 are left out."""
    model = timm.create_model("vit_small_patch16_dinov3", num_classes=0)
    names = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    state = {}
    for key, value in model.state_dict().items():
        name = next((key.replace(new, old) for new, old in names.items() if new in key), key)
        state[name] = value
        if name.endswith("qkv.weight"):
            state[name.replace("weight", "bias")] = torch.zeros(len(value))
    torch.save(state | {"mask_token": torch.zeros(1, 384)}, tmp_path / "dinov3.pth")
    encoder = load_timm(f"vit_small_patch16_dinov3@{tmp_path / 'dinov3.pth'}")
    ours, theirs = encoder.model.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert capsys.readouterr().out == ""


def test_the_baseline_has_the_same_shape_and_other_weights(weights):
    frozen = load_frozen(f"timm:{NAME}@{weights}", device="cpu")
    fresh, again = frozen.untrained(0).encoder, frozen.untrained(0).encoder
    clip = torch.randn(1, 3, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(fresh(clip), again(clip))
        assert not torch.allclose(fresh(clip), frozen.encoder(clip))
    assert frozen.read is None and frozen.networks.predictor is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch61", r"has no such model; near: .*vit"),
        ("vit_tiny_patch16_224.no_such_tag", r"cannot be built: .*no_such_tag"),
        (
            "resnet18",
            r"is hierarchical: a feature is 2 to 32 pixels wide, from layer to layer; give a plain ViT",
        ),
        ("swin_tiny_patch4_window7_224", "is hierarchical: a feature is 4 to 32 pixels wide"),
        ("test_mambaout", "hierarchical"),
        ("gmixer_12_224", "gmixer_12_224 has no patch tokens; give a plain ViT"),
    ],
)
def test_models_without_patch_tokens_are_refused(name, message):
    with pytest.raises(CheckpointError, match=message):
        TimmEncoder(name)


def test_wrong_files_are_refused(tmp_path, weights):
    with pytest.raises(CheckpointError, match=r"none.pt does not exist"):
        load_timm(f"{NAME}@{tmp_path / 'none.pt'}")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text.safetensors cannot be read as weights"):
        load_timm(f"{NAME}@{tmp_path / 'text.safetensors'}")
    with pytest.raises(CheckpointError, match=r"does not hold the weights of VisionTransformer"):
        load_timm(f"vit_small_patch16_224@{weights}")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Boom:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"a": Boom()}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"bad.pt cannot be read as weights"):
        load_timm(f"{NAME}@{tmp_path / 'bad.pt'}")
    assert not (tmp_path / "ran").exists()


def test_weights_that_cannot_be_fetched_are_explained(monkeypatch):
    def create_model(*args, **settings):
        raise FileNotFoundError("cannot reach the hub")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(CheckpointError, match="its weights cannot be fetched .* name the file: timm:"):
        load_timm(NAME)
