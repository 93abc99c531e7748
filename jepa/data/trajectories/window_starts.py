"""Where windows may start: every frame of every episode that has a whole window after it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from jepa.config.trajectories import TrajectoryData
from jepa.errors import DataError
from jepa.types import Trajectory

Places = NDArray[np.int64]
"""(n, 2): number of the episode, and the frame of it at which a window starts."""


def window_steps(data: TrajectoryData, *, window: int | None = None) -> int:
    """Return the environment steps from a window's first frame to its last; ``window`` replaces that of ``data``."""
    return ((data.window if window is None else window) - 1) * data.frame_skip


def short_episodes(
    episodes: Sequence[Trajectory], data: TrajectoryData, *, window: int | None = None
) -> list[Trajectory]:
    """Return the episodes that are too short for a window, to be reported: nothing is cut from them."""
    return [episode for episode in episodes if len(episode) < window_steps(data, window=window)]


class WindowStarts:
    """All starts of all episodes, in order, with ``stride`` environment steps between neighbours."""

    def __init__(self, episodes: Sequence[Trajectory], steps: int, *, stride: int = 1) -> None:
        """Raise DataError where no episode has ``steps`` steps."""
        lengths = np.array([len(episode) for episode in episodes], dtype=np.int64)
        counts = np.maximum(0, (lengths - steps) // stride + 1)
        self._stride, self._counts, self._ends = stride, counts, np.cumsum(counts)
        if not counts.sum():
            longest = max(lengths, default=0)
            raise DataError(
                f"none of {len(episodes)} episodes is long enough for a window of {steps} environment steps "
                f"(the longest has {longest}) — lower data.window or data.frame_skip"
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def places(self, numbers: NDArray[np.int64]) -> Places:
        """Return the places of windows by their numbers: (n,) in [0, len) -> (n, 2)."""
        episodes = np.searchsorted(self._ends, numbers, side="right")
        starts = (numbers - (self._ends - self._counts)[episodes]) * self._stride
        return np.stack([episodes, starts], axis=1)

    def draw(self, count: int, generator: torch.Generator) -> Places:
        """Draw ``count`` places; every window is equally likely: (count, 2)."""
        numbers: NDArray[np.int64] = torch.randint(len(self), (count,), generator=generator).numpy()
        return self.places(numbers)
