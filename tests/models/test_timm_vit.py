"""Vision transformers of timm as encoders of clips."""

import pytest
import timm
import torch
from safetensors.torch import save_file

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


def test_registers_are_no_patches():
    encoder = TimmEncoder("vit_small_patch16_dinov3")
    with torch.inference_mode():
        assert encoder(torch.randn(1, 3, 1, 64, 64)).shape == (1, 16, 384)


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
        ("resnet18", "takes no images of other sizes"),
        ("swin_tiny_patch4_window7_224", "has no patch tokens"),
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
    with pytest.raises(CheckpointError, match=r"does not hold the weights of timm:vit_small"):
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
