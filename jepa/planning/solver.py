"""What all solvers share: how they are called."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import torch
from gymnasium import spaces as gym_spaces
from torch import Tensor

from jepa.errors import ConfigError
from jepa.planning.noise import Generators, Noise
from jepa.planning.search import CostFunction, Plan, Problem, Search, check_sizes, start_units
from jepa.planning.spaces import Space, as_space

ActionSpace = gym_spaces.Space[Any] | Space


@dataclass(frozen=True, kw_only=True)
class Solver(ABC):
    """Base of all solvers: settings, and a search that uses nothing but the cost it is given."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ConfigError."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            least = 1 if setting.type is int else 0
            if isinstance(value, int | float) and not value >= least:
                raise ConfigError(f"{setting.name} {value:g} -- it must be {least} or more")

    def solve(
        self,
        cost: CostFunction,
        *,
        horizon: int,
        action_space: ActionSpace,
        batch: int = 1,
        warm_start: Tensor | None = None,
        generator: Generators = None,
    ) -> Plan:
        """Find ``batch`` plans of ``horizon`` actions at once; each problem is searched as if it were alone.

        ``cost`` maps actions (B, S, H, A), in the units of the environment, to costs (B, S). ``warm_start``,
        (B, H, A), is where the search starts, and a candidate. ``generator`` is one for all problems, or one for
        each; the numbers are drawn on the CPU, and the same ones give the same plan. Candidates are made on the
        device of ``action_space``, a gymnasium space or one of ours, and are always inside it.

        Raises ConfigError for a horizon of 0 or a space that cannot be searched, DataError for a warm start of
        another shape or out of bounds, RunError for costs of another shape or not finite.
        """
        check_sizes(horizon=horizon, batch=batch)
        space = as_space(action_space)
        with torch.inference_mode(False), torch.no_grad():
            noise = Noise(generator, batch=batch, device=space.device)
            start = start_units(space, warm_start, batch=batch, horizon=horizon)
            search = Search(Problem(cost, space, batch, horizon, noise, start), keep=self.keeps)
            self.run(search)
            return search.plan()

    @property
    def keeps(self) -> int:
        """How many of the best candidates the search must keep."""
        return 1

    @abstractmethod
    def run(self, search: Search) -> None:
        """Ask for the costs of candidates, round by round."""
