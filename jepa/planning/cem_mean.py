"""Cross-entropy method whose answer is the mean of its last distribution."""

from dataclasses import dataclass

import torch
from torch import Tensor

from jepa.errors import ConfigError
from jepa.planning.search import Search, lowest
from jepa.planning.solver import Solver
from jepa.planning.spaces import BoxSpace

PerNumber = float | tuple[float, ...]
"""One setting for all numbers of an environment step's action, or one for each."""


@dataclass(frozen=True, kw_only=True)
class CEMMean(Solver):
    """CEM as V-JEPA 2-AC plans with it (arXiv:2506.09985, section 3.2; released code, notebooks/utils/mpc_utils.py).

    Unlike in `CEM`, all candidates are drawn anew in each round, deviations are those of a sample (K - 1), may
    vanish, and the answer is the last mean, though some candidate may have cost less. Drawn actions are clipped to
    their bounds. Actions must be continuous.
    """

    samples: int = 800
    """Candidates per round."""
    iterations: int = 10
    """Rounds."""
    elites: int = 10
    """Best candidates of a round, which the distribution is fitted to."""
    initial_std: PerNumber = 1.0
    """Deviation of the first round, as a fraction of half the range."""
    momentum: PerNumber = 0.15
    """Share of the last mean that is kept."""
    momentum_std: PerNumber = 0.15
    """Share of the last deviation that is kept."""
    dead_zone: PerNumber = 0.0
    """Numbers of the answer that are nearer to 0 than this become 0; in the units of the environment."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ConfigError."""
        super().__post_init__()
        if not 2 <= self.elites <= self.samples:
            raise ConfigError(
                f"elites {self.elites} of {self.samples} samples -- there must be 2 elites or more, and as many samples"
            )
        for name in ("initial_std", "momentum", "momentum_std", "dead_zone"):
            value = getattr(self, name)
            several = value if isinstance(value, tuple) else (value,)
            most = 1.0 if name.startswith("momentum") else float("inf")
            if wrong := [number for number in several if not 0 <= number <= most]:
                raise ConfigError(f"{name} {wrong[0]:g} -- it must lie between 0 and {most:g}")

    def run(self, search: Search) -> None:
        """Draw, ask, fit; settle for the mean."""
        problem = search.problem
        space = problem.space
        if not isinstance(space, BoxSpace):
            raise ConfigError(
                "cem-mean needs continuous actions, these are discrete -- use cem, icem or mppi"
            )
        keep, keep_std = space.each("momentum", self.momentum), space.each("momentum_std", self.momentum_std)
        mean = space.neutral().expand(problem.batch, 1, problem.horizon, -1)
        mean = mean if problem.start is None else problem.start
        std = space.each("initial_std", self.initial_std).expand_as(mean)
        for _ in range(self.iterations):
            candidates = torch.addcmul(mean, std, problem.draw(self.samples)).clamp(-1, 1)  # (B, S, H, A)
            _, elites = lowest(search.ask(candidates), candidates, self.elites)
            mean = elites.mean(dim=1, keepdim=True).lerp(mean, keep)
            std = elites.std(dim=1, keepdim=True).lerp(std, keep_std)
            search.end_round()
        search.settle(
            space.units(_without_small(space.actions(mean), space.each("dead_zone", self.dead_zone)))
        )


def _without_small(actions: Tensor, zone: Tensor) -> Tensor:
    """Return actions (..., A) with 0 where they are nearer to it than ``zone``, (A,)."""
    return actions.where(actions.abs() >= zone, 0.0)
