"""Small shared pieces: a tiny configuration, a seeded generator, a clip."""

import os
import signal

# A shell starts what runs in the background with Ctrl-C ignored; tests of Ctrl-C, and what they start, need it back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tiny tensors: more threads only wait for each other. Set before torch is imported, and for the processes tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from jepa.config.schema import PretrainConfig

torch.set_num_threads(1)

VIDEO_MASKS = [
    {"kind": "multiblock", "blocks": 4, "scale": 0.15},
    {"kind": "multiblock", "blocks": 1, "scale": 0.5},
]


def tiny_config(kind: str = "vjepa", **changes: object) -> PretrainConfig:
    """Return a valid configuration of an objective on 8-frame clips of 32 pixels: a grid of 4 x 4 x 4."""
    video = {"kind": "synthetic", "path": "unused"}
    image = {"kind": "images", "path": "unused"}
    sources = {"ijepa": [image], "joint": [video, image]}.get(kind, [video])
    values = {
        "run_dir": "unused",
        "data": {
            "sources": sources,
            "frames_per_clip": 8,
            "stride": 1,
            "resolution": 32,
            "batch_size": 4,
            "workers": 0,
        },
        "model": {"size": "nano", "patch": 8},
        "predictor": {"width": 48, "depth": 2, "heads": 4},
        "masks": {
            "video": VIDEO_MASKS if kind != "ijepa" else [],
            "image": [{"kind": "image_blocks"}] if kind in ("ijepa", "joint") else [],
        },
        "objective": {"kind": kind},
        "optim": {"steps": 10, "learning_rate": 1e-3},
    } | changes
    return PretrainConfig.model_validate(values, strict=False)


@pytest.fixture
def generator() -> torch.Generator:
    """A generator that draws the same numbers in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def clip(generator: torch.Generator) -> torch.Tensor:
    """Four clips of 8 frames, 32 pixels."""
    return torch.randn(4, 3, 8, 32, 32, generator=generator)
