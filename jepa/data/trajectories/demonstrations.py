"""Demonstrations as npz files of stacked frames, whose action t made frame t."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jepa.config.trajectories import DemonstrationSource
from jepa.data.trajectories.npz import Member, members
from jepa.data.trajectories.opened import Opened, episode_files
from jepa.data.video import UnreadableError
from jepa.types import BadFile, Trajectory

RGB = 3


@dataclass(frozen=True, slots=True)
class StackedFrames:
    """The newest of each stack of frames: (T + 1, 3 n, H, W) uint8 in the file, the last three channels are read."""

    member: Member

    def __len__(self) -> int:
        return self.member.shape[0]

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Return the frames at ``index``, (n, H, W, 3). Raises UnreadableError."""
        newest = self.member.read()[index, -RGB:]  # (n, 3, H, W)
        return np.asarray(newest.transpose(0, 2, 3, 1), np.uint8)


def open_demonstrations(config: DemonstrationSource) -> Opened:
    """Open every npz file below a folder. Raises DataError where there is none.

    ``action[t]`` led to ``observation[t]``, so ``action[0]`` led to nothing and is left out; so is ``reward[0]``.
    """
    folder = Path(config.path)
    episodes, bad = [], []
    for path in episode_files(folder, "**/*.npz", limit=config.episodes):
        try:
            episodes.append(_open(path, folder, config.rate))
        except UnreadableError as error:
            bad.append(BadFile(error.path, error.reason))
    return Opened(tuple(episodes), tuple(bad))


def _open(path: Path, folder: Path, rate: float | None) -> Trajectory:
    """Open one file. Raises UnreadableError."""
    found = members(str(path))
    if lacking := [name for name in ("observation", "action") if name not in found]:
        raise UnreadableError(str(path), f"holds no array {lacking[0]!r}, but {sorted(found)}")
    frames = found["observation"]
    if frames.dtype != np.uint8 or len(frames.shape) != 4 or frames.shape[1] % RGB:
        raise UnreadableError(
            str(path), f"observation is {frames.dtype} {frames.shape}, not uint8 (T + 1, 3 n, H, W)"
        )
    actions = np.array(found["action"].read(), np.float32)
    rewards = np.array(found["reward"].read(), np.float32).reshape(-1) if "reward" in found else None
    return Trajectory(
        name=path.relative_to(folder).with_suffix("").as_posix(),
        frames=StackedFrames(frames),
        actions=actions[1:],
        rate=rate,
        rewards=None if rewards is None else rewards[1:],
    )
