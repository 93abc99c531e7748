"""I-JEPA: released checkpoints give the released features of images, and are written as they were."""

import pytest
import torch

from jepa.errors import CheckpointError
from jepa.models.formats import find_format
from jepa.models.frozen import Frozen
from jepa.models.zoo import load_encoder, load_frozen
from jepa.types import Grid
from tests.models.formats import references
from tests.models.formats.references import assert_equal_states, random_masks, randomise, rewrite, write

PREFIX, GRID, PATCH = "module.", Grid(1, 6, 6), 8


@pytest.fixture(scope="module")
def theirs():
    networks = {
        "encoder": references.Encoder("ijepa", GRID, patch=PATCH),
        "target_encoder": references.Encoder("ijepa", GRID, patch=PATCH),
        "predictor": references.Predictor("ijepa", GRID, tokens=1),
    }
    for seed, network in enumerate(networks.values()):
        randomise(network, seed)
    return networks


@pytest.fixture
def path(theirs, tmp_path):
    path = tmp_path / "IN1K-vit.h.14-300e.pth.tar"
    write(path, PREFIX, **theirs)
    return path


@pytest.mark.parametrize("sides", [(48, 48), (96, 96), (32, 32), (48, 64)])
@pytest.mark.parametrize("weights", ["encoder", "target"])
def test_features_are_those_of_the_release(path, theirs, sides, weights):
    ours = load_encoder(path, weights=weights, device="cpu")
    image = torch.randn(2, 3, 1, *sides)
    reference = theirs["encoder" if weights == "encoder" else "target_encoder"]
    context = random_masks(ours.grid(image.shape)).context
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), reference(image), atol=1e-4, rtol=0)
        torch.testing.assert_close(ours(image, keep=context), reference(image, context), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_predictions_are_those_of_the_release(path, theirs, seed):
    predictor, masks = load_frozen(path, device="cpu").networks.predictor, random_masks(GRID, seed=seed)
    context = torch.randn(*masks.context.shape, references.WIDTH)
    with torch.inference_mode():
        wanted, _ = theirs["predictor"](context, masks, GRID)
        torch.testing.assert_close(predictor(context, masks, GRID), wanted, atol=1e-4, rtol=0)


def test_what_it_is_for_is_known(path):
    frozen = load_frozen(path, device="cpu")
    assert frozen.read.resolution == frozen.encoder.resolution == 48
    assert (frozen.read.frames_per_clip, frozen.architecture.model.position_grid) == (1, GRID)
    assert frozen.encoder.preprocess(torch.zeros(1, 90, 70, 3, dtype=torch.uint8)).shape == (1, 3, 1, 48, 48)
    with pytest.raises(ValueError, match="trained on images alone: T must be 1, got 2"):
        frozen.encoder(torch.zeros(1, 3, 2, 48, 48))


def test_a_round_trip_gives_the_same_file(path, tmp_path):
    found, source = find_format(str(path))
    assert found.name == "ijepa"
    found.save(found.load(source, "target"), tmp_path / "again.pt")
    first, again = (torch.load(each, weights_only=True) for each in (path, tmp_path / "again.pt"))
    for name in ("target_encoder", "predictor"):
        assert_equal_states(first[name], again[name])


def drop(state):
    del state[PREFIX + "blocks.0.attn.proj.bias"]


def add(state):
    state[PREFIX + "head.weight"] = torch.zeros(1)


def reshape(state):
    state[PREFIX + "norm.bias"] = torch.zeros(7)


def narrow(state):
    for name, value in state.items():
        state[name] = value[..., :100] if "mlp.fc1" in name else value


def with_class_token(state):
    state[PREFIX + "pos_embed"] = torch.zeros(1, 37, references.WIDTH)


def other_positions(state):
    state[PREFIX + "pos_embed"] = state[PREFIX + "pos_embed"].flip(1)


def no_positions(state):
    del state[PREFIX + "pos_embed"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"1 missing: blocks\.0\.attn\.proj\.bias"),
        (add, r"1 weights of unknown names: head\.weight"),
        (reshape, r"1 of another shape: norm\.bias \(7,\) for \(192,\)"),
        (narrow, r"width 100, and no tensor tells its heads"),
        (with_class_token, r"pos_embed is of 37 tokens, which is no grid that fits"),
        (other_positions, r"pos_embed differs from the published positions by .* on a grid of \(1, 6, 6\)"),
        (no_positions, r"pos_embed is missing"),
    ],
)
def test_every_weight_of_the_encoder_is_accounted_for(path, damage, message):
    rewrite(path, "target_encoder", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"ijepa:{path}", device="cpu")


def no_token(state):
    del state[PREFIX + "mask_token"]


def odd_token(state):
    state[PREFIX + "mask_token"] = torch.zeros(references.NARROW)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_token, r"mask_token is missing, but \(1, 1, width\) is needed"),
        (odd_token, r"mask_token is of shape \(144,\), but"),
        (add, r"1 weights of unknown names: head\.weight"),
    ],
)
def test_every_weight_of_the_predictor_is_accounted_for(path, damage, message):
    rewrite(path, "predictor", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"ijepa:{path}", device="cpu")


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"300e\.pth\.tar cannot be read as weights"):
        load_frozen(f"ijepa:{path}", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video": True}, "cannot hold a run: video is True, not False"),
        ({"patterns": 2}, "predictor.patterns is 2, not 1"),
        ({"resolution": (48, 96)}, r"for \(48, 96\) pixels in patches of 8"),
    ],
)
def test_what_the_file_cannot_hold_is_refused(path, tmp_path, changes, message):
    found, source = find_format(str(path))
    frozen = found.load(source, "target")
    architecture = frozen.architecture.model_copy(update=changes)
    other = Frozen("a run", frozen.networks, frozen.untrained, None, {}, architecture=architecture)
    with pytest.raises(CheckpointError, match=message):
        found.save(other, tmp_path / "new.pt")
    assert not (tmp_path / "new.pt").exists()


def test_other_networks_are_refused(path, tmp_path):
    found, source = find_format(str(path))
    frozen = found.load(source, "target")
    other = Frozen("timm:some", frozen.networks, frozen.untrained, None, {})
    with pytest.raises(CheckpointError, match="timm:some, which is no encoder of this library"):
        found.save(other, tmp_path / "new.pt")
