"""Episodes of one player, many at once: a fixed budget of steps, and what came of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jepa.envs.base import GoalEnv, Info, Observation, State

Frames = NDArray[np.uint8]
Film = tuple[Frames, Frames]
"""Frames of an episode, (steps + 1, H, W, 3), and its goal, (H, W, 3)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Where an episode starts, and where it is to go; what is not given is drawn by the environment from the seed."""

    seed: int
    state: State | None = None
    goal_state: State | None = None


class Player(Protocol):
    """What acts in many environments at once."""

    def begin(self, envs: Sequence[GoalEnv], goals: Frames, seeds: Sequence[int]) -> None:
        """Start episodes that were reset: their goals are images, (B, H, W, 3); ``seeds`` are of anything random."""

    def act(self, observations: Observation, infos: Sequence[Info]) -> NDArray[Any]:
        """Return one action for each episode, (B, A); a world model's player looks at ``observations`` alone."""

    @property
    def decision_s(self) -> list[float]:
        """Seconds that each search for a plan took, for all its episodes together; empty for what plans nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one episode."""

    distances: tuple[float, ...]
    """To the goal, before the first step and after each."""
    at_end: bool
    """Whether the goal was reached when the budget was spent."""
    at_any_step: bool
    """Whether it was reached after some step, as benchmarks count that stop there."""
    film: Film | None = None
    """Of the episodes that are kept."""


def play(
    player: Player,
    make: Callable[[], GoalEnv],
    trials: Sequence[Trial],
    *,
    steps: int,
    parallel: int,
    films: int = 0,
) -> list[Outcome]:
    """Play every trial for exactly ``steps`` steps, ``parallel`` at once; keep the first ``films`` as films.

    An episode goes on after it reached its goal: what cannot stay there has not learned to.
    """
    envs = [make() for _ in range(min(parallel, len(trials)))]
    outcomes: list[Outcome] = []
    try:
        for first in range(0, len(trials), len(envs)):
            chunk = trials[first : first + len(envs)]
            outcomes += _play_at_once(
                player, envs[: len(chunk)], chunk, steps=steps, films=max(0, films - first)
            )
    finally:
        for env in envs:
            env.close()
    return outcomes


def _play_at_once(
    player: Player, envs: Sequence[GoalEnv], trials: Sequence[Trial], *, steps: int, films: int
) -> list[Outcome]:
    """Play one trial in each environment."""
    started = [_start(env, trial) for env, trial in zip(envs, trials, strict=True)]
    goals = np.stack([info["goal"] for _, info in started])  # (B, H, W, 3)
    player.begin(envs, goals, [trial.seed for trial in trials])
    observations, infos = _stack([seen for seen, _ in started]), [info for _, info in started]
    distances, reached = [[info["distance"]] for info in infos], [[info["success"]] for info in infos]
    pixels = [observations["pixels"][:films]]
    for _ in range(steps):
        actions = player.act(observations, infos)
        moved = [env.step(action) for env, action in zip(envs, actions, strict=True)]
        observations, infos = _stack([step[0] for step in moved]), [step[4] for step in moved]
        for place, info in enumerate(infos):
            distances[place].append(info["distance"])
            reached[place].append(info["success"])
        pixels.append(observations["pixels"][:films])
    kept = np.stack(pixels, axis=1)  # (films, steps + 1, H, W, 3)
    return [
        Outcome(
            tuple(distances[place]),
            reached[place][-1],
            any(reached[place]),
            (kept[place], goals[place]) if place < films else None,
        )
        for place in range(len(envs))
    ]


def _start(env: GoalEnv, trial: Trial) -> tuple[Observation, Info]:
    """Reset an environment to a trial."""
    ends = {"state": trial.state, "goal_state": trial.goal_state}
    return env.reset(seed=trial.seed, options={name: end for name, end in ends.items() if end is not None})


def _stack(observations: Sequence[Observation]) -> Observation:
    """Put observations side by side."""
    return {name: np.stack([seen[name] for seen in observations]) for name in observations[0]}


class Stopwatch:
    """Notes how long calls take."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __enter__(self) -> "Stopwatch":
        self._began = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds.append(time.monotonic() - self._began)
