"""Episodes whose frames say which episode and which frame they are."""

import numpy as np

from jepa.config.trajectories import TrajectoryData
from jepa.types import Trajectory


class Numbered:
    """Frames of one colour each: red is the episode, green the frame."""

    def __init__(self, episode: int, count: int, size: tuple[int, int] = (16, 16)) -> None:
        self.episode, self.count, self.size = episode, count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        frames = np.zeros((len(index), *self.size, 3), np.uint8)
        frames[..., 0] = self.episode
        frames[..., 1] = index[:, None, None]
        return frames


def numbered(episode: int, steps: int, **changes: object) -> Trajectory:
    """Action t of an episode is (episode, t); proprioception t is (episode, t, t / 2)."""
    t = np.arange(steps + 1, dtype=np.float32)
    values = {
        "name": f"episode-{episode:06d}",
        "frames": Numbered(episode, steps + 1),
        "actions": np.stack([np.full(steps, episode), t[:-1]], axis=1).astype(np.float32),
        "rate": 10.0,
        "proprio": np.stack([np.full(steps + 1, episode), t, t / 2], axis=1).astype(np.float32),
    }
    return Trajectory(**(values | changes))


def data_of(**changes: object) -> TrajectoryData:
    values = {
        "sources": ({"kind": "store", "path": "unused"},),
        "resolution": 16,
        "batch_size": 32,
        "workers": 0,
    }
    return TrajectoryData.model_validate(values | changes, strict=False)
