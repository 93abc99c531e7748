"""V-JEPA 2.1: released checkpoints give the released features of videos and images, at one and at four levels."""

import pytest
import torch

from jepa.config.method import ModelConfig
from jepa.config.probe import EmbedConfig
from jepa.config.schema import PretrainConfig
from jepa.errors import CheckpointError, ConfigError
from jepa.models.encoder import Encoder
from jepa.models.formats import find_format
from jepa.models.frozen import Frozen
from jepa.models.zoo import load_encoder, load_frozen
from jepa.programs.requests import encoder_request
from jepa.types import Grid
from tests.conftest import tiny_config
from tests.models.formats import references
from tests.models.formats.references import assert_equal_states, random_masks, randomise, rewrite, write

PREFIX, GRID, PATCH = "module.backbone.", Grid(4, 4, 4), 16
SHAPES = [(4, 64, 64), (8, 32, 96), (1, 64, 64), (1, 96, 64)]


@pytest.fixture(scope="module")
def theirs():
    networks = {
        "target_encoder": references.Encoder("vjepa2.1", GRID, patch=PATCH, depth=12),
        "predictor": references.Predictor("vjepa2.1", GRID, tokens=8, levels=4),
        "distilled": references.Predictor("vjepa2.1", GRID, tokens=8, out=160),
    }
    for seed, network in enumerate(networks.values()):
        randomise(network, seed)
    return networks


@pytest.fixture
def path(theirs, tmp_path):
    path = tmp_path / "vjepa2_1_vitg_384.pt"
    write(path, PREFIX, target_encoder=theirs["target_encoder"], predictor=theirs["predictor"])
    return path


@pytest.fixture
def distilled(theirs, tmp_path):
    path = tmp_path / "vjepa2_1_vitb_dist_vitG_384.pt"
    write(path, PREFIX, ema_encoder=theirs["target_encoder"], predictor=theirs["distilled"])
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_features_of_videos_and_images_are_those_of_the_release(path, theirs, shape):
    ours, clip = load_encoder(path, device="cpu"), torch.randn(2, 3, *shape)
    reference, context = theirs["target_encoder"], random_masks(ours.grid(clip.shape)).context
    with torch.inference_mode():
        torch.testing.assert_close(ours(clip), reference(clip), atol=1e-4, rtol=0)
        torch.testing.assert_close(ours(clip, keep=context), reference(clip, context), atol=1e-4, rtol=0)
        levels = ours.encode_levels(clip, keep=context)
        torch.testing.assert_close(levels, reference(clip, context, levels=True), atol=1e-4, rtol=0)
        assert levels.shape[-1] == 4 * ours.dim


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("pattern", [0, 7])
def test_predictions_of_four_levels_are_those_of_the_release(path, theirs, pattern, image):
    predictor = load_frozen(path, device="cpu").networks.predictor
    grid = Grid(1, 4, 6) if image else GRID
    masks = random_masks(grid)
    context = torch.randn(*masks.context.shape, 4 * references.WIDTH)
    with torch.inference_mode():
        wanted, wanted_context = theirs["predictor"](context, masks, grid, pattern, image)
        targets, known = predictor.predict_both(context, masks, grid, pattern, image=image)
        torch.testing.assert_close(targets, wanted, atol=1e-4, rtol=0)
        torch.testing.assert_close(known, wanted_context, atol=1e-4, rtol=0)
        assert torch.equal(predictor(context, masks, grid, pattern, image=image), targets)


def test_predictions_of_distilled_models_are_of_the_teachers_width(distilled, theirs):
    predictor, masks = load_frozen(distilled, device="cpu").networks.predictor, random_masks(GRID)
    context = torch.randn(*masks.context.shape, references.WIDTH)
    with torch.inference_mode():
        wanted, wanted_context = theirs["distilled"](context, masks, GRID, 3)
        targets, known = predictor.predict_both(context, masks, GRID, 3)
    assert targets.shape[-1] == 160
    torch.testing.assert_close(targets, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(known, wanted_context, atol=1e-4, rtol=0)


def test_how_clips_were_cut_is_known(path):
    frozen = load_frozen(path, device="cpu")
    assert (frozen.read.frames_per_clip, frozen.read.fps, frozen.read.resolution) == (64, 4, 384)
    assert frozen.encoder.resolution == 384


@pytest.mark.parametrize(
    ("which", "network"),
    [("path", "target_encoder"), ("distilled", "ema_encoder")],
    ids=["path", "distilled"],
)
def test_a_round_trip_gives_the_same_file(request, tmp_path, which, network):
    path = request.getfixturevalue(which)
    found, source = find_format(str(path))
    assert found.name == "vjepa2.1"
    found.save(found.load(source, "target"), tmp_path / "again.pt")
    first, again = (torch.load(each, weights_only=True) for each in (path, tmp_path / "again.pt"))
    assert_equal_states(first[network], again["target_encoder"])
    assert_equal_states(first["predictor"], again["predictor"])


def drop(state):
    del state[PREFIX + "norms_block.2.weight"]


def drop_token(state):
    del state[PREFIX + "img_mod_embed"]


def add(state):
    state[PREFIX + "norms_block.4.weight"] = torch.zeros(references.WIDTH)


def reshape(state):
    state[PREFIX + "img_mod_embed"] = torch.zeros(1, 2, references.WIDTH)


def longer_image(state):
    state[PREFIX + "patch_embed_img.proj.weight"] = torch.zeros(references.WIDTH, 3, 2, 16, 16)


def old_table(state):
    state[PREFIX + "pos_embed"] = torch.zeros(1, 64, references.WIDTH)


def shallow(state):
    for name in [name for name in state if "blocks.11." in name]:
        del state[name]


def narrow(state):
    for name, value in state.items():
        state[name] = value[..., :100] if "mlp.fc1" in name else value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"1 missing: level_norms\.2\.weight"),
        (drop_token, r"1 missing: image_token"),
        (add, r"1 left over: level_norms\.4\.weight"),
        (reshape, r"1 of another shape: image_token \(1, 2, 192\) for \(192,\)"),
        (
            longer_image,
            r"1 of another shape: patch_embed_image\.weight \(192, 3, 2, 16, 16\) for \(192, 3, 16, 16\)",
        ),
        (old_table, r"1 weights of unknown names: pos_embed"),
        (
            shallow,
            r"11 blocks, and no tensor tells which of them are levels; known are 12, 24, 40, 48 blocks",
        ),
        (narrow, r"width 100, and no tensor tells its heads"),
    ],
)
def test_every_weight_of_the_encoder_is_accounted_for(path, damage, message):
    rewrite(path, "target_encoder", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"vjepa2.1:{path}", device="cpu")


def drop_mix(state):
    del state[PREFIX + "predictor_embed.0.bias"]


def drop_head(state):
    del state[PREFIX + "predictor_proj_context.bias"]


def odd_mix(state):
    state[PREFIX + "predictor_embed.0.weight"] = torch.zeros(references.WIDTH, 500)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_mix, r"1 missing: mix\.bias"),
        (drop_head, r"1 missing: proj_context\.bias"),
        (odd_mix, r"of another shape: mix\.weight \(192, 500\) for \(192, 384\)"),
    ],
)
def test_every_weight_of_the_predictor_is_accounted_for(path, damage, message):
    rewrite(path, "predictor", damage)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(f"vjepa2.1:{path}", device="cpu")


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"vjepa2_1_vitg_384\.pt cannot be read as weights"):
        load_frozen(f"vjepa2.1:{path}", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": (5, 11)}, r"cannot hold a run: levels is \(5, 11\), not \(2, 5, 8, 11\)"),
        ({"position_fit": "edges"}, "position_fit is edges, not corners"),
        ({"position_grid": None}, r"position_grid is None, not \(32, 16, 16\)"),
        ({"modality_tokens": False}, "modality_tokens is False, not True"),
    ],
)
def test_what_the_file_cannot_hold_is_refused(path, tmp_path, changes, message):
    found, source = find_format(str(path))
    frozen = found.load(source, "target")
    model = frozen.architecture.model.model_copy(update=changes)
    architecture = frozen.architecture.model_copy(update={"model": model})
    other = Frozen("a run", frozen.networks, frozen.untrained, None, {}, architecture=architecture)
    with pytest.raises(CheckpointError, match=message):
        found.save(other, tmp_path / "new.pt")
    assert not (tmp_path / "new.pt").exists()


def test_a_predictor_without_a_head_for_the_context_says_so(theirs, tmp_path):
    rest = references.Predictor("vjepa2.1", GRID, tokens=8)
    del rest.predictor_proj_context
    write(tmp_path / "one.pt", PREFIX, target_encoder=theirs["target_encoder"], predictor=rest)
    predictor, masks = load_frozen(tmp_path / "one.pt", device="cpu").networks.predictor, random_masks(GRID)
    with pytest.raises(ValueError, match="no context head: predictor.context_head is false"):
        predictor.predict_both(torch.zeros(*masks.context.shape, references.WIDTH), masks, GRID)


def test_a_predictor_of_levels_wants_all_of_them(path):
    encoder, predictor = load_frozen(path, device="cpu").networks
    assert (predictor.levels, predictor.taken, predictor.given) == (4, 4 * encoder.dim, 4 * encoder.dim)
    with pytest.raises(ValueError, match=r"context must be 768 wide, 4 levels .* got 192; see Encoder"):
        predictor(torch.zeros(2, 21, encoder.dim), random_masks(GRID), GRID)


def test_anticipation_needs_a_predictor_of_the_encoders_tokens(path, distilled):
    for source, message in (
        (path, "takes 768 and gives 768 numbers"),
        (distilled, "takes 192 and gives 160"),
    ):
        frozen, config = load_frozen(source, device="cpu"), EmbedConfig(model=str(source), predict_steps=1)
        with pytest.raises(ConfigError, match=f"{message}.* but its encoder gives 192; set it to 0"):
            encoder_request(config, frozen, frozen.networks, frozen.read)


@pytest.mark.parametrize(
    "values",
    [
        {"model": {"levels": [3], "modality_tokens": False}},
        {"model": {"modality_tokens": True}},
        {"predictor": {"levels": 4}},
        {"predictor": {"out": 7}},
        {"predictor": {"context_head": True}},
    ],
)
def test_training_predicts_the_last_level_alone(values):
    config = tiny_config().model_dump(mode="json")
    for section, changes in values.items():
        config[section] |= changes
    with pytest.raises(
        ValueError, match=r"are of weights from a file \(V-JEPA 2\.1\); training predicts the last"
    ):
        PretrainConfig.model_validate(config, strict=False)


def test_levels_end_with_the_last_block():
    with pytest.raises(ConfigError, match=r"model\.levels \[0, 1\] must end with the last block, 3"):
        Encoder(ModelConfig(size="nano", levels=(0, 1)))
    with pytest.raises(ValueError, match=r"levels must ascend, got \[3, 1\]"):
        ModelConfig(size="nano", levels=(3, 1))


def test_one_level_is_what_the_encoder_gives():
    encoder, clip = Encoder(ModelConfig(size="nano", patch=8)), torch.randn(1, 3, 4, 16, 16)
    torch.testing.assert_close(encoder.encode_levels(clip), encoder(clip))
