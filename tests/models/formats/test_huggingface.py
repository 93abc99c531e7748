"""Hugging Face's V-JEPA 2 against transformers, on random weights: both ways, several shapes, grids and masks."""

import functools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from jepa.config.method import ModelConfig, SizeConfig
from jepa.errors import CheckpointError
from jepa.models.formats import find_format
from jepa.models.formats.huggingface import HuggingFace
from jepa.models.formats.huggingface_config import HubConfig
from jepa.models.zoo import load_encoder, load_frozen
from jepa.types import Grid, Masks
from tests.models.formats.hub import TOLERANCE, own_frozen, write_folder

SHAPES = {
    "heads of 12, all turned": {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 3},
    "heads of 16, 4 channels at rest": {"hidden_size": 32, "num_attention_heads": 2, "mlp_ratio": 48 / 11},
    "one block, tubelets of 3": {"num_hidden_layers": 1, "tubelet_size": 3, "pred_num_mask_tokens": 1},
    "patches of 4": {"patch_size": 4, "crop_size": 16, "pred_hidden_size": 48, "pred_num_hidden_layers": 1},
}


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers")


def clip_of(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def some(tokens, parts, batch=2):
    """Random disjoint token indices, another draw for each sample, in no order."""
    draws = torch.Generator().manual_seed(2)
    order = torch.stack([torch.randperm(tokens, generator=draws) for _ in range(batch)])
    return order[:, : sum(parts)].split(parts, dim=1)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_encoder_equals_transformers(transformers, tmp_path, shape, steps):
    model = write_folder(tmp_path, **SHAPES[shape])
    side, tubelet = model.config.crop_size, model.config.tubelet_size
    clip = clip_of(2, 3, steps * tubelet, side, side)
    wanted = model(clip.transpose(1, 2), skip_predictor=True).last_hidden_state
    assert wanted.std() > 0.5
    torch.testing.assert_close(load_encoder(tmp_path, device="cpu")(clip), wanted, **TOLERANCE)


def test_a_single_image_equals_transformers(transformers, tmp_path):
    model = write_folder(tmp_path)
    image = clip_of(2, 3, 1, 32, 32)
    wanted = model(image.transpose(1, 2), skip_predictor=True).last_hidden_state
    torch.testing.assert_close(load_encoder(tmp_path, device="cpu")(image), wanted, **TOLERANCE)


def test_other_squares_equal_transformers_told_of_them(transformers, tmp_path):
    write_folder(tmp_path)
    model = transformers.AutoModel.from_pretrained(tmp_path, crop_size=48).eval()
    clip = clip_of(1, 3, 4, 48, 48)
    wanted = model(clip.transpose(1, 2), skip_predictor=True).last_hidden_state
    torch.testing.assert_close(load_encoder(tmp_path, device="cpu")(clip), wanted, **TOLERANCE)


@pytest.mark.parametrize("grid", [Grid(3, 2, 4), Grid(2, 4, 3), Grid(1, 1, 4)])
def test_oblong_grids_equal_transformers_at_the_same_places(transformers, tmp_path, grid):
    """Its forward pass counts on squares; its blocks take the places of an oblong inside of one."""
    model = write_folder(tmp_path).encoder
    clip = clip_of(2, 3, 2 * grid.time, 8 * grid.height, 8 * grid.width)
    places = torch.arange(grid.time * 4 * 4).view(grid.time, 4, 4)[:, : grid.height, : grid.width]
    tokens = model.embeddings(clip.transpose(1, 2))
    for layer in model.layer:
        tokens = layer(tokens, places.reshape(1, -1).expand(2, -1))[0]
    wanted = model.layernorm(tokens)
    torch.testing.assert_close(load_encoder(tmp_path, device="cpu")(clip), wanted, **TOLERANCE)


@pytest.mark.parametrize("parts", [(20, 12), (5, 7), (1, 31), (40, 24)])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_predictor_equals_transformers(transformers, tmp_path, shape, parts):
    model = write_folder(tmp_path, **SHAPES[shape])
    frozen = load_frozen(tmp_path, device="cpu")
    grid = Grid(4, 4, 4)
    masks = Masks(*some(grid.tokens, parts))
    features = clip_of(2, grid.tokens, model.config.hidden_size)
    wanted = model.predictor(features, [masks.context], [masks.target]).last_hidden_state
    context = features.gather(1, masks.context[..., None].expand(-1, -1, features.shape[2]))
    found = frozen.networks.predictor(context, masks, grid, frozen.pattern)
    assert wanted.std() > 0.3
    torch.testing.assert_close(found, wanted, **TOLERANCE)


def test_clip_to_prediction_equals_transformers(transformers, tmp_path):
    model = write_folder(tmp_path)
    frozen, clip = load_frozen(tmp_path, device="cpu"), clip_of(2, 3, 6, 32, 32)
    masks = Masks(*some(48, (30, 18)))
    out = model(clip.transpose(1, 2), context_mask=[masks.context], target_mask=[masks.target])
    tokens = frozen.encoder(clip)
    context = tokens.gather(1, masks.context[..., None].expand(-1, -1, tokens.shape[2]))
    torch.testing.assert_close(context, out.masked_hidden_state, **TOLERANCE)
    found = frozen.networks.predictor(context, masks, Grid(3, 4, 4), frozen.pattern)
    torch.testing.assert_close(found, out.predictor_output.last_hidden_state, **TOLERANCE)


@pytest.mark.parametrize("pattern", [0, 1, 2])
def test_each_mask_token_is_its_own(transformers, tmp_path, pattern):
    model = write_folder(tmp_path)
    predictor = load_frozen(tmp_path, device="cpu").networks.predictor
    masks, features = Masks(*some(32, (12, 20))), clip_of(2, 32, 24)
    embeddings = model.predictor.embeddings
    embeddings.forward = functools.partial(embeddings.forward, mask_index=pattern)
    wanted = model.predictor(features, [masks.context], [masks.target]).last_hidden_state
    context = features.gather(1, masks.context[..., None].expand(-1, -1, 24))
    torch.testing.assert_close(predictor(context, masks, Grid(2, 4, 4), pattern), wanted, **TOLERANCE)
    other = predictor(context, masks, Grid(2, 4, 4), (pattern + 1) % 3)
    assert (other - wanted).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["VJEPA2Model", "VJEPA2ForVideoClassification"])
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_come_back_bit_for_bit(transformers, tmp_path, shape, kind):
    model = write_folder(tmp_path / "theirs", kind, **SHAPES[shape])
    HuggingFace().save(load_frozen(tmp_path / "theirs", device="cpu"), tmp_path / "ours")
    again, report = transformers.AutoModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    before = getattr(model, "vjepa2", model).state_dict()
    after = again.state_dict()
    assert before.keys() == after.keys() == load_file(tmp_path / "ours" / "model.safetensors").keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    own = transformers.VJEPA2Config().to_dict() | model.config.to_dict()
    aside = {
        "architectures",
        "id2label",
        "frames_per_clip",
        "mlp_ratio",
    }  # a ratio may be another to the same width
    kept = {key for key in own if key in HubConfig.model_fields} - aside
    assert {key: again.config.to_dict()[key] for key in kept} == {key: own[key] for key in kept}


def test_our_encoder_and_predictor_run_in_transformers(transformers, tmp_path, caplog):
    frozen, clip, masks = own_frozen(), clip_of(2, 3, 6, 32, 32), Masks(*some(48, (30, 18)))
    HuggingFace().save(frozen, tmp_path / "out")
    assert not any(caplog.records)
    model, report = transformers.AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values()), report
    out = model.eval()(clip.transpose(1, 2), context_mask=[masks.context], target_mask=[masks.target])
    tokens = frozen.encoder(clip)
    torch.testing.assert_close(out.last_hidden_state, tokens, **TOLERANCE)
    context = tokens.gather(1, masks.context[..., None].expand(-1, -1, 36))
    wanted = frozen.networks.predictor(context, masks, Grid(3, 4, 4), 1)
    torch.testing.assert_close(out.predictor_output.last_hidden_state, wanted, **TOLERANCE)


def test_ours_comes_back_as_it_was(tmp_path):
    frozen = own_frozen(resize_to=36)
    HuggingFace().save(frozen, tmp_path / "out")
    again = load_frozen(tmp_path / "out", device="cpu")
    assert again.pattern == frozen.pattern == 0
    assert again.architecture == frozen.architecture
    for before, after in zip(frozen.networks, again.networks, strict=True):
        assert all(map(torch.equal, before.state_dict().values(), after.state_dict().values()))


def test_sharded_weights_are_read_whole(transformers, tmp_path):
    model = write_folder(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert not (tmp_path / "many" / "model.safetensors").exists()
    one, many = (load_frozen(tmp_path / name, device="cpu").networks for name in ("one", "many"))
    for before, after in zip(one, many, strict=True):
        assert all(map(torch.equal, before.state_dict().values(), after.state_dict().values()))


def test_every_weight_is_accounted_for(transformers, tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    less = {name: value for name, value in state.items() if name != "encoder.layer.0.attention.key.bias"}
    shorter = state | {"predictor.layer.1.attention.value.weight": torch.zeros(24, 23)}
    for bad, message in [
        (less, r"missing: blocks\.0\.attn\.qkv\.bias; 2 left over"),
        (shorter, r"missing: blocks\.1\.attn\.qkv\.weight"),
        (
            state | {"encoder.layer.7.norm1.bias": torch.zeros(24)},
            r"unknown names: encoder\.layer\.7\.norm1\.bias",
        ),
        (
            state | {"predictor.embeddings.mask_tokens": torch.zeros(4, 1, 1, 24)},
            r"mask_tokens \(4, 24\) for \(3, 24\)",
        ),
        (
            {f"vjepa2.{name}": value for name, value in state.items()} | {"head.weight": torch.zeros(1)},
            r"1 weights of unknown names: head\.weight",
        ),
    ]:
        save_file(bad, path)
        with pytest.raises(CheckpointError, match=message):
            load_frozen(tmp_path, device="cpu")
    path.unlink()
    with pytest.raises(
        CheckpointError, match=r"holds neither model\.safetensors nor model\.safetensors\.index\.json"
    ):
        load_frozen(tmp_path, device="cpu")


BUILT = {"size": SizeConfig(width=36, depth=1, heads=3), "patch": 8, "rotary_layout": "released"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": ModelConfig(**BUILT | {"rotary_layout": "paired"})},
            r"model\.rotary_layout 'paired' \(its att",
        ),
        ({"model": ModelConfig(**BUILT, positions="sincos")}, r"model\.positions 'sincos' \(it has rotary"),
        ({"model": ModelConfig(**BUILT, position_grid=(2, 4, 4))}, r"model\.position_grid \(2, 4, 4\)"),
        ({"image": True}, r"image True \(it embeds tubelets alone\)"),
        ({"video": False, "image": True}, "image True .*; video False"),
        ({"predictor": None}, r"predictor None \(its models always have a predictor"),
        ({"resolution": (32, 48)}, r"resolution \(32, 48\) \(it counts positions on a square\)"),
    ],
)
def test_what_transformers_cannot_express_is_refused_before_writing(tmp_path, changes, message):
    frozen = own_frozen(**changes)
    with pytest.raises(CheckpointError, match=message):
        HuggingFace().save(frozen, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(CheckpointError, match="out is a file; a Hugging Face folder needs a folder"):
        HuggingFace().save(own_frozen(), tmp_path / "out")


def test_only_folders_of_vjepa2_are_recognised(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "vjepa2"}))
    assert find_format(str(tmp_path))[0].name == "hf"
    path.write_text(json.dumps({"model_type": "vivit"}))
    with pytest.raises(CheckpointError, match="none of the known formats"):
        find_format(str(tmp_path))
