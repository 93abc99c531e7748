"""Folders of Hugging Face, small and of weights that matter, as transformers writes them; frozen encoders of ours."""

import torch

from jepa.config.architecture import Architecture
from jepa.config.method import ModelConfig, PredictorConfig, SizeConfig
from jepa.models.build import build_networks, frozen_networks
from jepa.models.frozen import Networks

TOLERANCE = {"atol": 1e-4, "rtol": 0}
SMALL = {
    "patch_size": 8,
    "crop_size": 32,
    "frames_per_clip": 4,
    "hidden_size": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 2,
    "pred_num_mask_tokens": 3,
}


def drawn(model, seed=0):
    """Give every parameter weights that matter: those of transformers' start would hide mistakes."""
    draws = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        weight.data.normal_(0, 0.2, generator=draws)
        if "norm" in name and name.endswith("weight"):
            weight.data += 1
    return model.eval().requires_grad_(False)


def write_folder(folder, kind="VJEPA2Model", **changes):
    """Write a folder as transformers does, and return the model."""
    import transformers  # the tests skip where there is none

    transformers.utils.logging.disable_progress_bar()
    config = transformers.VJEPA2Config(**SMALL | changes)
    model = drawn(getattr(transformers, kind)(config))
    model.save_pretrained(folder)
    return model


def own_frozen(**changes):
    """An encoder of ours with weights that matter, in the layout that transformers has."""
    values = {
        "model": ModelConfig(
            size=SizeConfig(width=36, depth=2, heads=3), patch=8, tubelet=2, rotary_layout="released"
        ),
        "predictor": PredictorConfig(width=24, depth=2, heads=2),
        "patterns": 2,
        "resolution": 32,
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
    }
    architecture = Architecture(**values | changes)
    encoder, predictor = build_networks(architecture)
    drawn(encoder)
    if predictor is not None:
        drawn(predictor, seed=3)
    return frozen_networks(architecture, Networks(encoder, predictor), "own", pattern=0)
