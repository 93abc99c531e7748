"""The JSON files of a Hugging Face folder: defaults, preprocessing against transformers' own, and what is refused."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jepa.errors import CheckpointError
from jepa.models.formats.huggingface import HuggingFace
from jepa.models.formats.huggingface_config import HubConfig, HubProcessor, released_resize
from jepa.models.zoo import load_encoder, load_frozen
from jepa.preprocess import preprocess
from tests.models.formats.hub import SMALL, TOLERANCE, own_frozen, write_folder


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers")


def frames_of(height, width):
    return torch.randint(
        256, (2, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(4)
    )


FRAMES = [
    (60, 100),
    (100, 60),
    (64, 64),
    (36, 36),
    (32, 32),
    (47, 33),
    (33, 47),
    (51, 73),
    (20, 27),
    (240, 427),
]


@pytest.mark.parametrize("size", FRAMES)
def test_preprocessing_equals_the_released_processor(transformers, tmp_path, size):
    write_folder(tmp_path)
    transformers.VJEPA2VideoProcessor(crop_size=32, image_mean=[0.1, 0.2, 0.3]).save_pretrained(tmp_path)
    encoder, frames = load_encoder(tmp_path, device="cpu"), frames_of(*size)
    assert (encoder.resolution, encoder.resize_to, encoder.mean) == (32, 36, (0.1, 0.2, 0.3))
    processor = transformers.AutoVideoProcessor.from_pretrained(tmp_path)
    wanted = processor(frames.numpy(), return_tensors="pt")["pixel_values_videos"]
    torch.testing.assert_close(encoder.preprocess(frames).transpose(1, 2), wanted, **TOLERANCE)


def test_the_released_rule_is_taken_where_no_file_says_it(transformers, tmp_path):
    write_folder(tmp_path, crop_size=64)
    encoder, frames = load_encoder(tmp_path, device="cpu"), frames_of(90, 120)
    wanted = transformers.VJEPA2VideoProcessor(crop_size=64)(frames.numpy(), return_tensors="pt")
    found = encoder.preprocess(frames).transpose(1, 2)
    torch.testing.assert_close(found, wanted["pixel_values_videos"], **TOLERANCE)


@pytest.mark.parametrize("size", FRAMES)
@pytest.mark.parametrize("resize_to", [32, 36, 40])
def test_the_written_processor_is_the_encoders_rule(transformers, tmp_path, resize_to, size):
    frozen, frames = own_frozen(resize_to=resize_to), frames_of(*size)
    HuggingFace().save(frozen, tmp_path / "out")
    processor = transformers.AutoVideoProcessor.from_pretrained(tmp_path / "out")
    assert (type(processor).__name__ == "VJEPA2VideoProcessor") == (resize_to == released_resize(32))
    found = processor(frames.numpy(), return_tensors="pt")["pixel_values_videos"]
    torch.testing.assert_close(found, frozen.encoder.preprocess(frames).transpose(1, 2), **TOLERANCE)


def test_an_encoder_that_cuts_first_is_met_on_square_frames_and_nearly_on_others(transformers, tmp_path):
    """No processor of transformers cuts before it resizes; what it does instead lies within half a pixel."""
    frozen = own_frozen()
    HuggingFace().save(frozen, tmp_path / "out")
    processor = transformers.AutoVideoProcessor.from_pretrained(tmp_path / "out")
    for size in ((96, 96), (64, 112), (131, 97)):
        coarse = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(5)) * 255
        frames = F.interpolate(coarse, size, mode="bilinear").byte().permute(0, 2, 3, 1)
        found = processor(frames.numpy(), return_tensors="pt")["pixel_values_videos"].transpose(1, 2)
        wanted = frozen.encoder.preprocess(frames)
        if size[0] == size[1]:
            torch.testing.assert_close(found, wanted, **TOLERANCE)
        else:
            assert 1e-4 < (found - wanted).abs().max() < 0.2
            assert (found - preprocess(frames.flip(2), 32)).abs().mean() > 0.3  # what a wrong cut would give


def test_defaults_are_those_of_transformers(transformers):
    config = transformers.VJEPA2Config()
    for key, value in HubConfig(model_type="vjepa2"):
        if key not in ("architectures", "id2label", "jepa_pattern"):
            assert getattr(config, key) == value, key
    processor = transformers.VJEPA2VideoProcessor().to_dict()
    for key, value in HubProcessor().model_dump(exclude_none=True).items():
        assert np.array_equal(processor[key], value) if "image" in key else processor[key] == value, key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hidden_act": "relu", "qkv_bias": False},
            "qkv_bias: .*found False; hidden_act: .*'gelu', found 'relu'",
        ),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps: .*must be 1e-06, found 1e-05"),
        (
            {"pred_mlp_ratio": 2.0},
            "pred_mlp_ratio: .*must be 4, as all published predictors have it, found 2.0",
        ),
        ({"in_chans": 1}, "in_chans: Input should be 3, found 1"),
        ({"architectures": ["Other"]}, "architectures.0: .*'VJEPA2ForVideoClassification', found 'Other'"),
        ({"num_attention_heads": 5}, "heads 5 must divide width 24"),
    ],
)
def test_what_cannot_be_expressed_here_is_refused(tmp_path, changes, message):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vjepa2"} | SMALL | changes))
    with pytest.raises(CheckpointError, match=message):
        load_frozen(tmp_path, device="cpu")


RULE = {
    "video_processor_type": "BaseVideoProcessor",
    "crop_size": 32,
    "do_resize": True,
    "do_center_crop": True,
}
RULE |= {"do_rescale": True, "do_normalize": True, "resample": 2, "size": {"shortest_edge": 36}}


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ("{", "video_preprocessor_config.json is no JSON"),
        (RULE | {"crop_size": 64}, r"crop_size 32 of config\.json must be the processor's, 64"),
        (RULE | {"crop_size": {"height": 32, "width": 48}}, "crop_size must be a square"),
        (RULE | {"do_normalize": False, "resample": 3}, "resample: .*found 3; do_normalize: .*found False"),
        (RULE | {"rescale_factor": 1.0}, "rescale_factor: .*must be 1 / 255, found 1.0"),
        (
            RULE | {"size": {"height": 9, "width": 9}},
            "size must give a shortest_edge of at least 32, the crop_size",
        ),
        (RULE | {"size": {"shortest_edge": 30}}, "shortest_edge of at least 32"),
        (RULE | {"size": 40}, "size must give a shortest_edge"),
        ({"video_processor_type": "BaseVideoProcessor", "size": None}, "must say crop_size, do_center_crop"),
        (
            RULE | {"video_processor_type": "VivitVideoProcessor"},
            "video_processor_type: .*'VivitVideoProcessor'",
        ),
    ],
)
def test_a_processor_that_cannot_be_followed_is_refused(tmp_path, processor, message):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vjepa2"} | SMALL))
    text = processor if isinstance(processor, str) else json.dumps(processor)
    (tmp_path / "video_preprocessor_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_frozen(tmp_path, device="cpu")
