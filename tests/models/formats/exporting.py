"""A small encoder with a predictor, and a world model, for the tests of formats."""

import torch
from torch import nn

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.config.method import ModelConfig, PredictorConfig, SizeConfig
from jepa.config.world_model import WorldModelConfig
from jepa.models.build import frozen_networks, untrained_networks
from jepa.models.frozen import Frozen
from jepa.models.world_model import LatentWorldModel, build_world_model

ARCHITECTURE = Architecture(
    model=ModelConfig(size=SizeConfig(width=48, depth=2, heads=4), patch=8),
    image=True,
    predictor=PredictorConfig(width=24, depth=1, heads=2),
    patterns=2,
    resolution=(16, 24),
)


def shaken(module: nn.Module) -> nn.Module:
    """Move every weight and buffer away from where it begins, so that one left out is seen."""
    generator = torch.Generator().manual_seed(1)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.add_(0.05 * torch.rand(value.shape, generator=generator))
    return module


def small(architecture: Architecture = ARCHITECTURE, source: str = "/home/me/runs/small") -> Frozen:
    """Return a small encoder and predictor with weights of their own."""
    networks = untrained_networks(architecture, 0)
    for part in networks:
        if part is not None:
            shaken(part)
    read = ReadConfig(frames_per_clip=4, stride=2, resolution=(16, 24))
    return frozen_networks(architecture, networks, source, read=read, pattern=1, seed=5)


def world_config(frames: dict[str, object] | None = None, **changes: object) -> WorldModelConfig:
    """Return the configuration of a small world model."""
    values = {
        "run_dir": "/home/me/runs/world",
        "data": {
            "sources": [
                {"kind": "store", "path": "/home/me/rooms/train"},
                {"kind": "store", "path": "/home/me/halls/train"},
            ],
            "resolution": 16,
            "frame_skip": 2,
        },
        "frames": frames or {"kind": "conv", "width": 8, "dim": 8},
        "dynamics": {"kind": "mlp", "width": 16, "depth": 1},
        "objective": {"kind": "lewm"},
        "optim": {"steps": 6, "learning_rate": 1e-3},
    }
    return WorldModelConfig.model_validate(values | changes, strict=False)


def small_world(config: WorldModelConfig, *, proprio_size: int = 0) -> LatentWorldModel:
    """Return a world model with weights of its own."""
    torch.manual_seed(0)
    model = build_world_model(config, action_size=2, proprio_size=proprio_size)
    shaken(model)
    return model.requires_grad_(False).eval()
