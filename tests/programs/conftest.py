"""A small set of real mp4 files and a few episodes, written once, and runs on them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jepa.config.envs import CollectConfig
from jepa.config.load import parse
from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.data.synthetic import write_videos

VIDEOS = 24


def write_kinds(folder: Path) -> None:
    """Write kinds.csv, in which four labels take turns: so few videos do not show every motion."""
    names = sorted(path.name for path in folder.glob("*.mp4"))
    (folder / "kinds.csv").write_text("\n".join(f"{name},{'abcd'[n % 4]}" for n, name in enumerate(names)))


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 videos of 16 frames, 32 pixels, and the lists motion.csv, appearance.csv and kinds.csv."""
    folder = tmp_path_factory.mktemp("videos")
    write_videos(folder, count=VIDEOS, seed=0, frames=16, size=32, fps=8)
    write_kinds(folder)
    return folder


def run_values(videos: Path, run_dir: Path) -> dict:
    """Return the configuration of a run of seconds, as YAML would hold it."""
    return {
        "run_dir": str(run_dir),
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


@pytest.fixture
def run_config(videos: Path, tmp_path: Path) -> Callable[..., PretrainConfig]:
    """Build the configuration of a run of seconds; sections given as dicts are merged into it."""

    def build(**changes: object) -> PretrainConfig:
        values = run_values(videos, tmp_path / "run")
        for key, change in changes.items():
            merge = isinstance(change, dict) and isinstance(values.get(key), dict)
            values[key] = {**values[key], **change} if merge and key != "objective" else change
        return parse(values, PretrainConfig)

    return build


@pytest.fixture(scope="session")
def trained(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with the checkpoint of two steps: an encoder that has learned nothing, but is one."""
    from jepa.programs.pretrain import pretrain

    run = tmp_path_factory.mktemp("trained") / "run"
    pretrain(parse(run_values(videos, run) | {"optim": {"steps": 2, "learning_rate": 1e-3}}, PretrainConfig))
    return run


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen more videos, of another seed."""
    folder = tmp_path_factory.mktemp("held-out")
    write_videos(folder, count=16, seed=1, frames=16, size=32, fps=8)
    write_kinds(folder)
    return folder


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 12 episodes of 30 steps in Two-Room, 16 pixels."""
    from jepa.programs.collect import collect

    folder = tmp_path_factory.mktemp("rooms") / "episodes"
    env = {"kind": "two-room", "size": 16}
    collect(CollectConfig(env=env, path=str(folder), episodes=12, steps=30, workers=0))
    return folder


def world_values(rooms: Path, run_dir: Path) -> dict:
    """Return the configuration of a world model of seconds, as YAML would hold it."""
    return {
        "run_dir": str(run_dir),
        "data": {
            "sources": [{"kind": "store", "path": str(rooms)}],
            "resolution": 16,
            "window": 4,
            "batch_size": 8,
            "test_fraction": 0.3,
            "workers": 0,
        },
        "frames": {"kind": "conv", "width": 8, "dim": 8},
        "dynamics": {"kind": "mlp", "width": 16, "depth": 1},
        "objective": {"kind": "lewm", "projections": 8, "inverse_weight": 1.0, "rollout_steps": 2},
        "value": {"steps": 4, "batch_size": 16, "width": 8, "dim": 4},
        "horizon": 4,
        "optim": {"steps": 6, "learning_rate": 1e-3},
        "log": {"every_steps": 1, "tensorboard": False},
    }


@pytest.fixture
def world_config(rooms: Path, tmp_path: Path) -> Callable[..., WorldModelConfig]:
    """Build the configuration of a world model of seconds; sections given as dicts are merged into it."""

    def build(**changes: object) -> WorldModelConfig:
        values = world_values(rooms, tmp_path / "world")
        for key, change in changes.items():
            merge = isinstance(change, dict) and key in ("data", "optim", "log")
            values[key] = {**values[key], **change} if merge else change
        return parse(values, WorldModelConfig)

    return build


@pytest.fixture(scope="session")
def world(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of a world model that has learned nothing, but is one."""
    from jepa.programs.world_model import train_world_model

    run = tmp_path_factory.mktemp("world") / "run"
    train_world_model(parse(world_values(rooms, run), WorldModelConfig))
    return run
