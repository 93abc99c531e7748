"""The scale of actions and of proprioception, measured on the episodes that are learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepa.errors import DataError
from jepa.types import Trajectory

CONSTANT = 1e-6  # deviation, relative to the largest magnitude, below which a number counts as constant

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of each number of an environment step's action, or of a frame's proprioception."""

    mean: Numbers
    std: Numbers
    """1 where the number never changes: normalised, it is then 0 rather than noise."""
    low: Numbers
    """Smallest value seen."""
    high: Numbers
    """Largest value seen."""


def action_statistics(episodes: Sequence[Trajectory]) -> Statistics:
    """Measure actions, (A,) each. Give the training episodes alone. Raises DataError where there is no step."""
    return _statistics([episode.actions for episode in episodes])


def proprio_statistics(episodes: Sequence[Trajectory]) -> Statistics:
    """Measure proprioception, (P,) each. Raises DataError where an episode has none."""
    if lacking := [episode.name for episode in episodes if episode.proprio is None]:
        raise DataError(f"{lacking[0]} has no proprioception; set proprio: false")
    return _statistics([episode.proprio for episode in episodes if episode.proprio is not None])


def _statistics(parts: Sequence[Numbers]) -> Statistics:
    """Measure (n, A) arrays together, in float64."""
    if not sum(map(len, parts)):
        raise DataError("there is no step to measure; give at least one episode with actions")
    values = np.concatenate(parts).astype(np.float64)  # (steps, A)
    low, high = values.min(axis=0), values.max(axis=0)
    std = values.std(axis=0)
    constant = std <= CONSTANT * np.maximum(np.abs(low), np.abs(high))
    return Statistics(
        mean=values.mean(axis=0).astype(np.float32),
        std=np.where(constant, 1.0, std).astype(np.float32),
        low=low.astype(np.float32),
        high=high.astype(np.float32),
    )
