"""V-JEPA: released checkpoints give the released features, with their positions, and are written as they were."""

import pytest
import torch

from jepa.errors import CheckpointError
from jepa.models.formats import find_format
from jepa.models.frozen import Frozen
from jepa.models.zoo import load_encoder, load_frozen
from jepa.types import Grid
from tests.models.formats import references
from tests.models.formats.references import assert_equal_states, random_masks, randomise, rewrite, write

PREFIX, GRID, PATCH = "module.backbone.", Grid(4, 4, 4), 8


@pytest.fixture(scope="module")
def theirs():
    networks = {
        "encoder": references.Encoder("vjepa", GRID, patch=PATCH),
        "target_encoder": references.Encoder("vjepa", GRID, patch=PATCH),
        "predictor": references.Predictor("vjepa", GRID, tokens=2),
    }
    for seed, network in enumerate(networks.values()):
        randomise(network, seed)
    return networks


@pytest.fixture
def path(theirs, tmp_path):
    path = tmp_path / "vitl16.pth.tar"
    write(path, PREFIX, **theirs)
    return path


@pytest.mark.parametrize("shape", [(8, 32, 32), (4, 32, 32), (16, 32, 32), (8, 64, 48)])
@pytest.mark.parametrize("weights", ["encoder", "target"])
def test_features_are_those_of_the_release(path, theirs, shape, weights):
    ours = load_encoder(path, weights=weights, device="cpu")
    clip = torch.randn(2, 3, *shape)
    reference = theirs["encoder" if weights == "encoder" else "target_encoder"]
    context = random_masks(ours.grid(clip.shape)).context
    with torch.inference_mode():
        torch.testing.assert_close(ours(clip), reference(clip), atol=1e-4, rtol=0)
        torch.testing.assert_close(ours(clip, keep=context), reference(clip, context), atol=1e-4, rtol=0)


@pytest.mark.parametrize("pattern", [0, 1])
def test_predictions_are_those_of_the_release(path, theirs, pattern):
    predictor, masks = load_frozen(path, device="cpu").networks.predictor, random_masks(GRID)
    context = torch.randn(*masks.context.shape, references.WIDTH)
    with torch.inference_mode():
        wanted, _ = theirs["predictor"](context, masks, GRID, pattern)
        torch.testing.assert_close(predictor(context, masks, GRID, pattern), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("grid", [GRID, Grid(8, 2, 2), Grid(2, 3, 3)])
def test_the_grid_is_told_by_the_positions(tmp_path, grid):
    write(tmp_path / "one.pt", PREFIX, encoder=references.Encoder("vjepa", grid, patch=PATCH))
    frozen = load_frozen(tmp_path / "one.pt", device="cpu")
    assert frozen.architecture.model.position_grid == grid
    assert frozen.read.resolution == frozen.encoder.resolution == 8 * grid.height
    assert (frozen.read.frames_per_clip, frozen.read.stride) == (2 * grid.time, 4)


def test_a_round_trip_gives_the_same_file(path, tmp_path):
    found, source = find_format(str(path))
    assert found.name == "vjepa"
    found.save(found.load(source, "target"), tmp_path / "again.pt")
    first, again = (torch.load(each, weights_only=True) for each in (path, tmp_path / "again.pt"))
    for name in ("target_encoder", "predictor"):
        assert_equal_states(first[name], again[name])


def drop(state):
    del state[PREFIX + "norm.weight"]


def add(state):
    state[PREFIX + "blocks.999999999.norm1.weight"] = torch.zeros(1)


def reshape(state):
    state[PREFIX + "patch_embed.proj.bias"] = torch.zeros(7)


def narrow(state):
    for name, value in state.items():
        state[name] = value[..., :100] if "mlp.fc1" in name else value


def other_positions(state):
    state[PREFIX + "pos_embed"] = state[PREFIX + "pos_embed"] + 0.01


def no_positions(state):
    del state[PREFIX + "pos_embed"]


def broken_positions(state):
    state[PREFIX + "pos_embed"] = torch.full((1, 64, references.WIDTH), torch.nan)


def flat_positions(state):
    state[PREFIX + "pos_embed"] = torch.zeros(64, references.WIDTH)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"1 missing: norm\.weight"),
        (add, r"3 blocks, among them 999999999, but not all before"),
        (reshape, r"1 of another shape: patch_embed\.bias \(7,\) for \(192,\)"),
        (narrow, r"width 100, and no tensor tells its heads"),
        (
            other_positions,
            r"pos_embed differs from the published positions by 0\.01 on a grid of \(4, 4, 4\)",
        ),
        (broken_positions, r"pos_embed differs from the published positions by nan"),
        (no_positions, r"pos_embed is missing"),
        (flat_positions, r"pos_embed is of shape \(64, 192\), not \(1, N, width\)"),
    ],
)
def test_every_weight_of_the_encoder_is_accounted_for(path, damage, message):
    rewrite(path, "target_encoder", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"vjepa:{path}", device="cpu")


def other_grid(state):
    state[PREFIX + "predictor_pos_embed"] = references.table("vjepa", Grid(1, 8, 8), references.NARROW)


def fewer_tokens(state):
    state[PREFIX + "predictor_pos_embed"] = state[PREFIX + "predictor_pos_embed"][:, :50]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            other_grid,
            r"predictor_pos_embed differs from the published positions by .* on a grid of \(4, 4, 4\)",
        ),
        (fewer_tokens, r"predictor_pos_embed is of 50 tokens, which is no grid that fits"),
        (dict.clear, r"predictor: holds no predictor_blocks\.0\.mlp\.fc1\.weight"),
    ],
)
def test_every_weight_of_the_predictor_is_accounted_for(path, damage, message):
    rewrite(path, "predictor", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"vjepa:{path}", device="cpu")


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"vitl16\.pth\.tar cannot be read as weights"):
        load_frozen(f"vjepa:{path}", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"positions": "rotary"}}, "cannot hold a run: positions is rotary, not sincos"),
        (
            {"model": {"position_grid": None}},
            "its positions are those of one grid of square frames, .* is None",
        ),
        ({"model": {"position_grid": (4, 4, 6)}}, r"one grid of square frames, .* is \(4, 4, 6\)"),
        ({"resolution": 64}, r"position_grid is \(4, 4, 4\), for 64 pixels in patches of 8"),
        ({"patterns": 10}, "10 mask tokens would make it one of V-JEPA 2"),
        ({"std": (0.5, 0.5, 0.5)}, r"std is \(0\.5, 0\.5, 0\.5\), not \(0\.229, "),
    ],
)
def test_what_the_file_cannot_hold_is_refused(path, tmp_path, changes, message):
    found, source = find_format(str(path))
    frozen = found.load(source, "target")
    model = frozen.architecture.model.model_copy(update=changes.get("model", {}))
    architecture = frozen.architecture.model_copy(update=changes | {"model": model})
    other = Frozen("a run", frozen.networks, frozen.untrained, None, {}, architecture=architecture)
    with pytest.raises(CheckpointError, match=message):
        found.save(other, tmp_path / "new.pt")
    assert not (tmp_path / "new.pt").exists()
