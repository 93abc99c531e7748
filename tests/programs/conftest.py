"""A small set of real mp4 files, written once, and runs on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jepa.config.load import parse
from jepa.config.schema import PretrainConfig
from jepa.data.synthetic import write_videos

VIDEOS = 24


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 videos of 16 frames, 32 pixels, and the lists motion.csv and appearance.csv."""
    folder = tmp_path_factory.mktemp("videos")
    write_videos(folder, count=VIDEOS, seed=0, frames=16, size=32, fps=8)
    return folder


@pytest.fixture
def run_config(videos: Path, tmp_path: Path) -> Callable[..., PretrainConfig]:
    """Build the configuration of a run of seconds; sections given as dicts are merged into it."""

    def build(**changes: object) -> PretrainConfig:
        values: dict = {
            "run_dir": str(tmp_path / "run"),
            "data": {
                "sources": [{"kind": "csv", "path": str(videos / "motion.csv")}],
                "frames_per_clip": 4,
                "stride": 1,
                "resolution": 16,
                "batch_size": 4,
                "workers": 0,
            },
            "model": {"size": "nano", "patch": 8, "drop_path": 0.2},
            "predictor": {"width": 24, "depth": 1, "heads": 2},
            "masks": {"video": [{"kind": "random", "ratio": 0.5}]},
            "objective": {"kind": "vjepa", "momentum": 0.9},
            "optim": {"steps": 8, "learning_rate": 1e-3, "warmup_steps": 2},
            "log": {"every_steps": 1, "tensorboard": False},
        }
        for key, change in changes.items():
            merge = isinstance(change, dict) and isinstance(values.get(key), dict)
            values[key] = {**values[key], **change} if merge and key != "objective" else change
        return parse(values, PretrainConfig)

    return build
