"""V-JEPA 2: released checkpoints give the released features, and are written as they were."""

from pathlib import Path

import pytest
import torch

from jepa.errors import CheckpointError
from jepa.models.formats import find_format
from jepa.models.formats.base import Source
from jepa.models.frozen import Frozen
from jepa.models.zoo import load_encoder, load_frozen
from jepa.types import Grid
from tests.models.formats import references
from tests.models.formats.references import assert_equal_states, random_masks, randomise, rewrite, write

PREFIX, GRID, PATCH = "module.backbone.", Grid(4, 4, 4), 8


@pytest.fixture(scope="module")
def theirs():
    networks = {
        "encoder": references.Encoder("vjepa2", GRID, patch=PATCH),
        "target_encoder": references.Encoder("vjepa2", GRID, patch=PATCH),
        "predictor": references.Predictor("vjepa2", GRID, tokens=10),
    }
    for seed, network in enumerate(networks.values()):
        randomise(network, seed)
    return networks


@pytest.fixture
def path(theirs, tmp_path):
    path = tmp_path / "vitl.pt"
    write(path, PREFIX, **theirs)
    return path


def clip_of(*shape: int) -> torch.Tensor:
    return torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(8, 32, 32), (4, 32, 32), (16, 32, 48), (8, 64, 32)])
@pytest.mark.parametrize("weights", ["encoder", "target"])
def test_features_are_those_of_the_release(path, theirs, shape, weights):
    ours, clip = load_encoder(path, weights=weights, device="cpu"), clip_of(*shape)
    reference = theirs["encoder" if weights == "encoder" else "target_encoder"]
    context = random_masks(ours.grid(clip.shape)).context
    with torch.inference_mode():
        torch.testing.assert_close(ours(clip), reference(clip), atol=1e-4, rtol=0)
        torch.testing.assert_close(ours(clip, keep=context), reference(clip, context), atol=1e-4, rtol=0)


@pytest.mark.parametrize("grid", [GRID, Grid(2, 4, 6)])
@pytest.mark.parametrize("pattern", [0, 1, 9])
def test_predictions_are_those_of_the_release(path, theirs, grid, pattern):
    predictor, masks = load_frozen(path, device="cpu").networks.predictor, random_masks(grid)
    context = torch.randn(*masks.context.shape, references.WIDTH)
    with torch.inference_mode():
        wanted, _ = theirs["predictor"](context, masks, grid, pattern)
        torch.testing.assert_close(predictor(context, masks, grid, pattern), wanted, atol=1e-4, rtol=0)


def test_how_clips_were_cut_is_known(path):
    frozen = load_frozen(path, device="cpu")
    assert frozen.read is not None
    assert (frozen.read.frames_per_clip, frozen.read.fps, frozen.read.resolution) == (64, 4, 256)
    assert frozen.encoder.preprocess(torch.zeros(8, 300, 400, 3, dtype=torch.uint8)).shape[-1] == 256
    again = [frozen.untrained(seed).encoder.state_dict() for seed in (0, 0, 1)]
    assert_equal_states(again[0], again[1])
    assert not torch.equal(again[0]["blocks.0.attn.qkv.weight"], again[2]["blocks.0.attn.qkv.weight"])


def test_loading_draws_no_random_numbers(path):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_frozen(path, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_for_384_pixels_is_known_by_its_name(path):
    other = path.rename(path.with_name("vitg-384.pt"))
    assert find_format(str(other))[0].name == "vjepa2-384"
    frozen = load_frozen(other, device="cpu")
    assert frozen.encoder.resolution == frozen.read.resolution == 384
    assert load_encoder(f"vjepa2:{other}", device="cpu").resolution == 256


def test_a_round_trip_gives_the_same_file(path, tmp_path):
    found, source = find_format(str(path))
    assert found.name == "vjepa2"
    found.save(found.load(source, "target"), tmp_path / "again.pt")
    first, again = (torch.load(each, weights_only=True) for each in (path, tmp_path / "again.pt"))
    for name in ("target_encoder", "predictor"):
        assert_equal_states(first[name], again[name])
    assert_equal_states(again["encoder"], again["target_encoder"])


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_prefixes_make_no_difference(theirs, tmp_path, prefix):
    write(tmp_path / "one.pt", prefix, encoder=theirs["encoder"])  # without EMA and predictor: one is both
    ours = load_frozen(tmp_path / "one.pt", device="cpu")
    assert ours.networks.predictor is None
    assert torch.equal(ours.encoder.state_dict()["norm.bias"], theirs["encoder"].norm.bias)


def test_a_table_that_is_left_over_is_left_out(path):
    for network, name in (("target_encoder", "pos_embed"), ("predictor", "predictor_pos_embed")):
        rewrite(
            path, network, lambda state, name=name: state.update({PREFIX + name: torch.zeros(1, 64, 192)})
        )
    assert load_frozen(path, device="cpu").architecture.model.positions == "rotary"


def test_a_predictor_without_mask_tokens_is_of_another_format(path):
    def strip(state):
        for name in [name for name in state if "mask_tokens" in name]:
            del state[name]

    found = find_format(str(path))[0]
    rewrite(path, "predictor", strip)
    assert not found.recognises(Source(str(path)))


def drop(state):
    del state[PREFIX + "blocks.1.mlp.fc1.weight"]


def add(state):
    state[PREFIX + "cls_token"] = torch.zeros(1)


def add_block(state):
    state[PREFIX + "blocks.1.attn.extra"] = torch.zeros(1)


def reshape(state):
    state[PREFIX + "blocks.1.mlp.fc1.bias"] = torch.zeros(7)


def narrow(state):
    for name, value in state.items():
        state[name] = value[..., :100] if "mlp.fc1" in name else value


def both_names(state):
    state["norm.weight"] = state[PREFIX + "norm.weight"]


def no_tensor(state):
    state[PREFIX + "norm.weight"] = "text"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"1 missing: blocks\.1\.mlp\.fc1\.weight"),
        (add, r"1 weights of unknown names: cls_token"),
        (add_block, r"1 left over: blocks\.1\.attn\.extra"),
        (reshape, r"1 of another shape: blocks\.1\.mlp\.fc1\.bias \(7,\) for \(768,\)"),
        (narrow, r"width 100, and no tensor tells its heads; known are the widths 192, 384,"),
        (both_names, r"target_encoder have one name with and without a prefix"),
        (no_tensor, r"target_encoder is no dictionary of tensors"),
        (dict.clear, r"patch_embed\.proj\.weight is missing, but an embedding of square patches over 3 axes"),
    ],
)
def test_every_weight_of_the_encoder_is_accounted_for(path, damage, message):
    rewrite(path, "target_encoder", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"vjepa2:{path}", device="cpu")


def drop_token(state):
    del state[PREFIX + "mask_tokens.3"]


def odd_token(state):
    state[PREFIX + "mask_tokens.3"] = torch.zeros(1, 2, references.NARROW)


def odd_width(state):
    for name, value in state.items():
        state[name] = value[..., :100] if "mlp.fc1" in name else value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_token, r"mask tokens must be mask_tokens\.0, \.1, \.\.\. of shape \(1, 1, width\)"),
        (odd_token, r"found mask_tokens\.0, .* of shapes \[\(1, 1, 144\), \(1, 2, 144\)\]"),
        (odd_width, r"the predictor is of width 100, which its 12 heads do not divide"),
        (add, r"1 weights of unknown names: cls_token"),
    ],
)
def test_every_weight_of_the_predictor_is_accounted_for(path, damage, message):
    rewrite(path, "predictor", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"vjepa2:{path}", device="cpu")


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"vitl\.pt cannot be read as weights"):
        load_frozen(f"vjepa2:{path}", device="cpu")


def test_weights_that_are_not_there_are_not_replaced(theirs, tmp_path):
    write(tmp_path / "one.pt", PREFIX, target_encoder=theirs["target_encoder"])
    with pytest.raises(
        CheckpointError, match=r"holds target_encoder, but none of encoder; ask for other weights"
    ):
        load_frozen(tmp_path / "one.pt", weights="encoder", device="cpu")


def changed(frozen: Frozen, **changes: object) -> Frozen:
    architecture = frozen.architecture.model_copy(
        update={"model": frozen.architecture.model.model_copy(update=changes)}
    )
    return Frozen(
        "a run", frozen.networks, frozen.untrained, frozen.read, frozen.shape, architecture=architecture
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rotary_layout": "paired"}, "cannot hold a run: rotary_layout is paired, not released"),
        (
            {"positions": "sincos", "levels": (1,)},
            r"levels is \(1,\), not \(\); positions is sincos, not rotary",
        ),
        ({"size": "mini"}, "heads is 6, not 3"),
    ],
)
def test_what_the_file_cannot_hold_is_refused(path, tmp_path, changes, message):
    found, source = find_format(str(path))
    with pytest.raises(CheckpointError, match=message):
        found.save(changed(found.load(source, "target"), **changes), tmp_path / "new.pt")
    assert not Path(tmp_path / "new.pt").exists()
