"""Who plays: a planner in a world model, a planner in the true simulator, chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.config.planning import SearchConfig
from jepa.envs.base import GoalEnv, Info, Observation
from jepa.envs.policies import Policy, random_policy
from jepa.objectives.behaviour_cloning import GoalPolicy
from jepa.planning import MPC
from jepa.planning.build import build_solver
from jepa.planning.search import shifted
from jepa.planning.spaces import BoxSpace, DiscreteSpace, as_space
from jepa.programs.episodes import Frames, Stopwatch
from jepa.runtime.seeding import derive, generator
from jepa.types import WorldModel


class PlanningPlayer:
    """Plans in a world model's latent space, from images alone."""

    def __init__(self, policy: MPC) -> None:
        self.policy = policy

    @property
    def decision_s(self) -> list[float]:
        """Seconds of each search."""
        return self.policy.seconds

    def begin(self, envs: Sequence[GoalEnv], goals: Frames, seeds: Sequence[int]) -> None:
        """Show the goals."""
        self.policy.reset(goals, seeds=seeds)

    def act(self, observations: Observation, infos: Sequence[Info]) -> NDArray[Any]:
        """Return the next actions of the plans, (B, A)."""
        return self.policy.act(observations)


class RandomPlayer:
    """Acts as the episodes of a random collection do."""

    decision_s: list[float] = []

    def begin(self, envs: Sequence[GoalEnv], goals: Frames, seeds: Sequence[int]) -> None:
        """Start one random policy per episode."""
        self._policies: list[Policy] = [random_policy(env) for env in envs]
        for policy, seed in zip(self._policies, seeds, strict=True):
            policy.reset(derive(seed, "random"))

    def act(self, observations: Observation, infos: Sequence[Info]) -> NDArray[Any]:
        """Return one random action for each episode, (B, A)."""
        seen = [{name: values[i] for name, values in observations.items()} for i in range(len(infos))]
        return np.stack([act(one, info) for act, one, info in zip(self._policies, seen, infos, strict=True)])


class CloningPlayer:
    """Acts as the recorded episodes did when they went where the goal is, by the world model's own latents."""

    def __init__(self, world_model: WorldModel, policy: GoalPolicy, *, is_pooled: bool) -> None:
        """``is_pooled`` tells whether ``policy`` knows the means over tokens."""
        self.world_model, self.policy, self.is_pooled = world_model, policy, is_pooled
        self.decision_s: list[float] = []

    def begin(self, envs: Sequence[GoalEnv], goals: Frames, seeds: Sequence[int]) -> None:
        """Encode the goals."""
        self._space = as_space(envs[0].action_space)
        self._goals = self._encode(goals)  # (B, N, D)

    def act(self, observations: Observation, infos: Sequence[Info]) -> NDArray[Any]:
        """Return the cloned actions, (B, A)."""
        with torch.inference_mode():
            return _executed(
                self.policy(self._encode(observations["pixels"]), self._goals).cpu(), self._space
            )

    def _encode(self, frames: Frames) -> Tensor:
        """Encode one frame of each episode: (B, H, W, 3) -> (B, N, D)."""
        with torch.inference_mode():
            z = self.world_model.encode(torch.from_numpy(frames)[:, None])[:, 0]
        return z.mean(1, keepdim=True) if self.is_pooled else z


class SimulatorPlayer:
    """Plans with the true simulator as the model and its distance as the cost: what a planner could reach at best.

    The only player that knows the simulator's states. Its cost is the mean distance over the horizon.
    """

    def __init__(self, search: SearchConfig) -> None:
        """``search`` counts environment steps: a simulator skips no frames."""
        self.search, self.solver = search, build_solver(search.solver)
        self.decision_s: list[float] = []

    def begin(self, envs: Sequence[GoalEnv], goals: Frames, seeds: Sequence[int]) -> None:
        """Keep the simulators."""
        self._envs, self._goals = envs, np.stack([env.goal_state for env in envs])  # (B, S)
        self._space = as_space(envs[0].action_space)
        self._noise = [generator(seed, "simulator") for seed in seeds]
        self._plan: Tensor | None = None
        self._taken = 0

    def act(self, observations: Observation, infos: Sequence[Info]) -> NDArray[Any]:
        """Return the next actions of the plans, (B, A)."""
        if self._plan is None or self._taken == self.search.replan_every:
            with Stopwatch() as watch:
                self._plan = self._search()
            self.decision_s += watch.seconds
            self._taken = 0
        self._taken += 1
        return _executed(self._plan[:, self._taken - 1], self._space)

    def _search(self) -> Tensor:
        """Search from the present states, warm from the rest of the last plan: (B, H, A)."""
        warm = None
        if self._plan is not None and self.search.warm_start:
            warm = shifted(self._plan, self._taken)
        states = np.stack([env.state for env in self._envs])  # (B, S)
        return self.solver.solve(
            lambda actions: self._cost(states, actions),
            horizon=self.search.horizon,
            action_space=self._space,
            batch=len(states),
            warm_start=warm,
            generator=self._noise,
        ).actions

    def _cost(self, states: NDArray[np.float64], actions: Tensor) -> Tensor:
        """Simulate every candidate: (B, S, H, A) -> (B, S)."""
        batch, candidates, horizon = actions.shape[:3]
        now, goals = (np.repeat(ends, candidates, axis=0) for ends in (states, self._goals))
        total = np.zeros(batch * candidates)
        for step in range(horizon):
            taken = _executed(actions[:, :, step].flatten(0, 1), self._space)
            now = self._envs[0].copy_step(now, taken)
            total += self._envs[0].distances(now, goals)
        return torch.from_numpy(total / horizon).float().view(batch, candidates)


def _executed(actions: Tensor, space: BoxSpace | DiscreteSpace) -> NDArray[Any]:
    """Return what environments execute: (n, A) as it is, or (n,) whole numbers."""
    found: NDArray[Any] = (actions.argmax(dim=-1) if isinstance(space, DiscreteSpace) else actions).numpy()
    return found
