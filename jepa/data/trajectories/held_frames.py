"""All frames of all episodes in memory, resized or encoded, where they fit: then a batch is one gather."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jepa.config.trajectories import TrajectoryData
from jepa.data.trajectories.frame_reading import EpisodeReader
from jepa.data.video import UnreadableError
from jepa.data.workers import leave_signals_to_the_parent
from jepa.preprocess import height_width
from jepa.types import Trajectory

Progress = Callable[[int, int], None]
"""Called with (episodes read, episodes)."""

Encode = Callable[[Tensor], Tensor]
"""What a frozen encoder makes of frames, each alone: (n, 3, H, W) uint8 -> (n, N, D) float32, on the CPU."""


@dataclass(frozen=True, slots=True)
class HeldFrames:
    """The frames of a list of episodes, one after another, or their latents."""

    frames: Tensor
    """(all frames, 3, H, W) uint8, or encoded, (all frames, N, D) float32."""
    first: NDArray[np.int64]
    """(episodes,): where each episode's frames begin."""
    whole: NDArray[np.bool_]
    """(episodes,): False for those that cannot be read to their end, whose frames are not held."""
    encode: Encode | None = None
    """What made the latents, for the sound windows of episodes that are not held; None where pixels are held."""

    def episodes(self) -> list[Tensor]:
        """Return what is held, an episode each, without a copy."""
        ends = [*self.first[1:], len(self.frames)]
        spans = zip(self.first, ends, self.whole, strict=True)
        return [self.frames[first:end] for first, end, is_whole in spans if is_whole]


def fits(episodes: Sequence[Trajectory], data: TrajectoryData, *, frame_bytes: int | None = None) -> bool:
    """Whether all frames fit into ``data.cache_mb``, resized, or at ``frame_bytes`` each."""
    if frame_bytes is None:
        height, width = height_width(data.resolution)
        frame_bytes = height * width * 3
    return sum(len(e.frames) for e in episodes) * frame_bytes <= data.cache_mb * 1_000_000


def hold_frames(
    episodes: Sequence[Trajectory],
    data: TrajectoryData,
    *,
    encode: Encode | None = None,
    progress: Progress | None = None,
) -> HeldFrames:
    """Read every frame of every episode, in ``data.workers`` processes; ``encode``, if given, runs in this one.

    An episode that is damaged somewhere is not held: its sound windows must not depend on whether there was room.
    """
    counts = np.array([len(episode.frames) for episode in episodes], dtype=np.int64)
    first = np.cumsum(counts) - counts
    frames = torch.empty(int(counts.sum()), 0)
    whole = np.zeros(len(episodes), dtype=np.bool_)
    for number, pixels in enumerate(_read(episodes, data)):
        if pixels is not None:
            kept = pixels if encode is None else encode(pixels)
            if not whole.any():
                frames = torch.empty(len(frames), *kept.shape[1:], dtype=kept.dtype)
            frames[first[number] : first[number] + counts[number]] = kept
            whole[number] = True
        if progress is not None:
            progress(number + 1, len(episodes))
    return HeldFrames(frames, first, whole, encode)


class _WholeEpisodes(Dataset[Tensor | None]):
    """All frames of an episode, or None for one that cannot be read."""

    def __init__(self, episodes: Sequence[Trajectory], data: TrajectoryData) -> None:
        self._episodes = episodes
        self._reader = EpisodeReader(data)

    def __len__(self) -> int:
        return len(self._episodes)

    def __getitem__(self, number: int) -> Tensor | None:
        episode = self._episodes[number]
        try:
            return self._reader.read(episode, np.arange(len(episode.frames)))
        except UnreadableError:
            return None


def _read(episodes: Sequence[Trajectory], data: TrajectoryData) -> Iterable[Tensor | None]:
    """Read the episodes in order."""
    return DataLoader(
        _WholeEpisodes(episodes, data),
        batch_size=None,
        num_workers=data.workers,
        worker_init_fn=leave_signals_to_the_parent,
        generator=torch.Generator(),  # else the loader would draw from torch's global one
    )
