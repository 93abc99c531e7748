"""What stands between this library and stable-worldmodel 0.1.1: our world model as its cost, our episodes as its data.

Copy `Cost` to plan with a world model of ours in a loop written for that package; stable_worldmodel_judge.py shows how.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_worldmodel.data import ZScoreScaler
from stable_worldmodel.solver import CEMSolver
from torch import Tensor

from jepa.types import Trajectory


class Cost:
    """Their protocol: what the candidates of a solver cost.

    A solver makes one `info` per decision and hands it over in every round, so that what is encoded can stay in it. All
    S rows of its pixels and of its goal are the same image. The candidates are in deviations of the recorded actions,
    as `scaler` gives them; what lies outside of `low` to `high` is cut off, as their environments do.
    """

    def __init__(
        self, world_model: Any, scaler: ZScoreScaler, *, low: float, high: float, learned: bool = False
    ) -> None:
        self.world_model, self.low, self.high, self.learned = world_model, low, high, learned
        self.mean, self.std = (torch.tensor(scaler.mean).float(), torch.tensor(scaler.std).float())  # (1, A)

    @torch.inference_mode()
    def get_cost(self, info: dict[str, Any], candidates: Tensor) -> Tensor:
        """Latent distance of the last imagined frame to the goal: (B, S, H, A) -> (B, S).

        With `learned`, the world model's own distance in time, on average over the imagined frames.
        """
        if "jepa context" not in info:
            info["jepa context"] = self.world_model.encode(info["pixels"][:, 0])  # (B, 1, N, D)
            info["jepa goal"] = self.world_model.encode(info["goal"][:, 0])
        imagined = self.world_model.rollout(info["jepa context"], self.actions(candidates))  # (B, S, H, N, D)
        if self.learned:
            return self.world_model.value(imagined, info["jepa goal"].unsqueeze(2)).mean(-1)  # of (B, S, H)
        return (imagined[:, :, -1] - info["jepa goal"]).square().mean((-2, -1))  # of (B, S, N, D)

    def actions(self, candidates: Tensor) -> Tensor:
        """Return the candidates in the units of the environment: (B, S, H, A) -> (B, S, H, A), A = frame_skip a."""
        steps = candidates.unflatten(-1, (self.world_model.frame_skip, -1))  # (B, S, H, frame_skip, a)
        mean, std = self.mean.to(candidates.device), self.std.to(candidates.device)
        return (steps * std + mean).clamp(self.low, self.high).flatten(-2)


class TimedCEM(CEMSolver):
    """Their CEM, and the time it takes."""

    seconds, decisions = 0.0, 0

    def solve(self, info_dict: dict[str, Any], init_action: Tensor | None = None) -> dict[str, Any]:
        """Search as they do."""
        start = time.perf_counter()
        found = super().solve(info_dict, init_action)
        self.seconds += time.perf_counter() - start
        self.decisions += len(found["actions"])
        return found


class RecordedEpisodes:
    """As much of their data set as `World.evaluate` reads, over episodes of ours."""

    column_names = ("pixels", "state")

    def __init__(self, episodes: Sequence[Trajectory]) -> None:
        self.episodes = episodes

    def draw(self, count: int, *, ahead: int, seed: int) -> NDArray[np.int64]:
        """Draw (episode, first step), without replacement, among all whose goal was recorded -> (count, 2)."""
        pairs = [
            (k, start) for k, episode in enumerate(self.episodes) for start in range(len(episode) + 1 - ahead)
        ]
        if len(pairs) < count:
            raise SystemExit(f"{count} goals are wanted, the episodes hold {len(pairs)}: record more of them")
        return np.array(pairs)[np.sort(np.random.default_rng(seed).choice(len(pairs), count, replace=False))]

    def load_chunk(self, episodes: Any, starts: Any, ends: Any) -> list[dict[str, Tensor]]:
        """Return frames and states of the episodes, from each start up to its end."""
        return [
            self._part(self.episodes[k], np.arange(a, b))
            for k, a, b in zip(episodes, starts, ends, strict=True)
        ]

    def _part(self, episode: Trajectory, steps: Any) -> dict[str, Tensor]:
        pixels = torch.from_numpy(episode.frames[steps]).permute(0, 3, 1, 2)  # (T, 3, H, W)
        return {"pixels": pixels, "state": torch.from_numpy(episode.states[steps]).float()}
