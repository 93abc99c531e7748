"""Builds the batches of a world model: windows of frames, and the actions between them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from jepa.config.trajectories import TrajectoryData
from jepa.data.trajectories.frame_reading import EpisodeReader
from jepa.data.trajectories.held_frames import HeldFrames
from jepa.data.trajectories.window_starts import Places, WindowStarts, window_steps
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.runtime.seeding import generator
from jepa.types import WHOLE, BadFile, Share, Trajectory

ATTEMPTS = 16  # windows tried for one place of a batch

Parts = tuple[Tensor, Tensor, Tensor | None, list[BadFile]]
"""Frames, actions, proprioception, and bad files: a batch in a form that the loader can pin."""


class WindowBatches(Dataset[Parts | DataError]):
    """Maps a step to its batch; everything random is drawn from generators keyed by (seed, step)."""

    def __init__(
        self,
        episodes: Sequence[Trajectory],
        data: TrajectoryData,
        *,
        seed: int,
        window: int | None = None,
        held: HeldFrames | None = None,
        share: Share = WHOLE,
    ) -> None:
        """Cut windows of ``window`` frames, by default ``data.window``; ``held`` are the frames of ``episodes``.

        Of every batch, `build` makes this process's ``share``.
        """
        if held is not None and len(held.first) != len(episodes):
            raise ValueError(f"held has the frames of {len(held.first)} episodes, there are {len(episodes)}")
        self._episodes, self._data, self._seed, self._held = episodes, data, seed, held
        self._rows = share.rows(data.batch_size)
        self._steps = window_steps(data, window=window)
        self._starts = WindowStarts(episodes, self._steps)
        self._reader = EpisodeReader(data)
        lengths = np.array([len(episode) for episode in episodes], dtype=np.int64)
        self._first_step = np.cumsum(lengths) - lengths
        self._actions = np.concatenate([episode.actions for episode in episodes])  # (all steps, A)
        self._first_frame = self._first_step + np.arange(len(lengths))
        self._proprio = (
            np.concatenate([e.proprio for e in episodes if e.proprio is not None]) if data.proprio else None
        )

    def __getitem__(self, step: int) -> Parts | DataError:
        """Return the batch, or the error, which raised in a worker would come out under a page of traces."""
        try:
            return self.build(step)
        except DataError as error:
            return error

    def avoid(self, name: str, reason: str) -> None:
        """Take an episode for one that cannot be read."""
        self._reader.avoid(name, reason)

    def build(self, step: int) -> Parts:
        """Return the batch of ``step``. Raises DataError when too many windows in a row cannot be read."""
        places = self._starts.draw(self._data.batch_size, generator(self._seed, "windows", step))[self._rows]
        bad: list[BadFile] = []
        loose: dict[int, Tensor] = {}
        for row in np.flatnonzero(~self._is_held(places[:, 0])):
            places[row], loose[int(row)] = self._window(step, self._rows[row], places[row], bad)
        return self._parts(places, loose, bad)

    def readable(self, places: Places, bad: list[BadFile]) -> Parts | None:
        """Return the windows at ``places`` that can be read, or None for none of them; notes the others."""
        loose: dict[int, Tensor] = {}
        kept: list[Places] = []
        for place, is_held in zip(places, self._is_held(places[:, 0]), strict=True):
            if not is_held:
                try:
                    loose[len(kept)] = self._frames(place)
                except UnreadableError as error:
                    bad.append(BadFile(error.path, error.reason))
                    continue
            kept.append(place)
        return self._parts(np.stack(kept), loose, list(bad)) if kept else None

    def _is_held(self, episodes: Places) -> NDArray[np.bool_]:
        """Say of each episode number whether its frames are in memory."""
        if self._held is None:
            return np.zeros(len(episodes), dtype=np.bool_)
        return self._held.whole[episodes]

    def _window(self, step: int, row: int, place: Places, bad: list[BadFile]) -> tuple[Places, Tensor]:
        """Return a window's place and frames; one that cannot be read is noted and replaced."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return place, self._frames(place)
            except UnreadableError as error:
                bad.append(BadFile(error.path, error.reason))
            place = self._starts.draw(1, generator(self._seed, "replacement", step, row, attempt))[0]
        last = bad[-1]
        raise DataError(
            f"step {step}: {ATTEMPTS} windows in a row cannot be read, the last of {last.path}: {last.reason} — "
            "repair the episodes, or leave them out"
        )

    def _frames(self, place: Places) -> Tensor:
        """Return the frames of one window, (T, 3, H, W), or their latents, (T, N, D)."""
        episode, start = place.tolist()
        index = np.arange(start, start + self._steps + 1, self._data.frame_skip)
        if self._held is not None and self._held.whole[episode]:
            return self._held.frames[torch.from_numpy(index + self._held.first[episode])]
        pixels = self._reader.read(self._episodes[episode], index)
        encode = None if self._held is None else self._held.encode
        return pixels if encode is None else encode(pixels)

    def _parts(self, places: Places, loose: dict[int, Tensor], bad: list[BadFile]) -> Parts:
        """Gather what belongs to the windows at ``places``; ``loose`` has the frames that are not held, by row."""
        episodes, starts = places.T
        skip = self._data.frame_skip
        each_frame = np.arange(0, self._steps + 1, skip)  # (T,)
        each_step = np.arange(self._steps)  # (T - 1) * skip of them
        actions = self._actions[(self._first_step[episodes] + starts)[:, None] + each_step]  # (B, steps, A)
        actions = actions.reshape(len(places), len(each_frame) - 1, -1)  # (B, T - 1, skip * A)
        index = (self._first_frame[episodes] + starts)[:, None] + each_frame  # (B, T)
        return (
            self._gather(index, loose),
            torch.from_numpy(actions),
            None if self._proprio is None else torch.from_numpy(self._proprio[index]),
            bad,
        )

    def _gather(self, index: Places, loose: dict[int, Tensor]) -> Tensor:
        """Return (B, T, 3, H, W) or (B, T, N, D): rows in ``loose`` from there, the others from memory."""
        if self._held is None or len(loose) == len(index):
            return torch.stack([loose[row] for row in range(len(index))])
        shape = self._held.frames.shape[1:]
        if not loose:
            return self._held.frames[torch.from_numpy(index.reshape(-1))].view(*index.shape, *shape)
        frames = torch.empty(*index.shape, *shape, dtype=self._held.frames.dtype)
        held = np.setdiff1d(np.arange(len(index)), list(loose))
        frames[held] = self._held.frames[torch.from_numpy(index[held].reshape(-1))].view(
            len(held), -1, *shape
        )
        for row, window in loose.items():
            frames[row] = window
        return frames
