"""From an episode to frames of the model's resolution, within a time limit."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.config.trajectories import TrajectoryData
from jepa.data.decode import bounded
from jepa.data.signs import reading_file, sign_of_life
from jepa.data.video import DecodeTimeoutError, UnreadableError
from jepa.preprocess import centre_pixels
from jepa.types import Trajectory

CHUNK = 64  # frames read at once, at full size: it bounds memory, and what the time limit is for


class EpisodeReader:
    """Reads frames at ``data.resolution``. One per process: it remembers what hung."""

    def __init__(self, data: TrajectoryData) -> None:
        self._resolution, self._seconds = data.resolution, data.decode_timeout_s
        self._avoided: dict[str, str] = {}

    def avoid(self, name: str, reason: str) -> None:
        """Take an episode for one that cannot be read, without trying."""
        self._avoided[name] = reason

    def read(self, episode: Trajectory, index: NDArray[np.int64]) -> Tensor:
        """Return frames, resized as `jepa.preprocess.centre_pixels` does.

        ``index`` is sorted: (n,) -> (n, 3, *resolution) uint8. Raises UnreadableError that names the episode, also
        where reading `CHUNK` frames takes longer than ``data.decode_timeout_s``.
        """
        if episode.name in self._avoided:
            raise UnreadableError(episode.name, self._avoided[episode.name])
        try:
            with reading_file(episode.name):
                parts = [
                    self._chunk(episode, index[begin : begin + CHUNK])
                    for begin in range(0, len(index), CHUNK)
                ]
        except DecodeTimeoutError as error:
            self.avoid(episode.name, error.reason)  # each try would cost the whole time limit again
            raise
        except UnreadableError as error:
            raise UnreadableError(episode.name, f"{error.reason} ({error.path})") from error
        return torch.cat(parts)

    def _chunk(self, episode: Trajectory, index: NDArray[np.int64]) -> Tensor:
        """Read a few frames within the time limit."""
        sign_of_life()
        frames = bounded(lambda: episode.frames[index], seconds=self._seconds, path=episode.name)
        return centre_pixels(torch.from_numpy(frames), self._resolution)
