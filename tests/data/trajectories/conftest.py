"""A store of episodes, written on the spot."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jepa.config.trajectories import StoreSource
from jepa.data.trajectories.store import StoreManifest, episode_path, write_episode, write_manifest
from jepa.types import Trajectory


@pytest.fixture
def write_store(tmp_path: Path) -> Callable[..., StoreSource]:
    def write(episodes: list[Trajectory], name: str = "store") -> StoreSource:
        folder = tmp_path / name
        write_manifest(folder, StoreManifest(env={"kind": "two-room"}, policy="random", seed=0))
        for number, episode in enumerate(episodes):
            write_episode(episode_path(folder, number), episode)
        return StoreSource(kind="store", path=str(folder))

    return write
