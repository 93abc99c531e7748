"""One search: the problem that was posed, and the best candidates seen, which no solver can lose."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa.errors import ConfigError, DataError, RunError
from jepa.planning.noise import Noise
from jepa.planning.spaces import Space

CostFunction = Callable[[Tensor], Tensor]
"""Actions (B, S, H, A), in the units of the environment -> costs (B, S)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search found."""

    actions: Tensor  # (B, H, A), in the units of the environment
    cost: Tensor  # (B,): of these actions; no candidate of the search cost less, unless it settled for others
    trace: Tensor  # (B, rounds): the lowest cost so far, after each round


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Find B sequences of ``horizon`` actions of low cost."""

    cost: CostFunction
    space: Space
    batch: int
    horizon: int
    noise: Noise
    start: Tensor | None  # (B, 1, H, A), in units: where the search starts

    def evaluate(self, units: Tensor, *, gradient: bool = False) -> Tensor:
        """Return the costs (B, S) of candidates (B, S, H, A). Raises RunError where one is not finite."""
        with torch.set_grad_enabled(gradient):
            costs = self.cost(self.space.actions(units))
        if costs.shape != units.shape[:2]:
            raise RunError(
                f"the cost returned {tuple(costs.shape)} -- it must be (B, S) = {tuple(units.shape[:2])}"
            )
        if not bool(costs.isfinite().all()):
            raise RunError(
                f"the costs of {int((~costs.isfinite()).sum())} of {costs.numel()} candidates are not finite -- "
                "check the world model's numbers; a constraint needs a finite cost"
            )
        return costs

    def draw(self, samples: int, *, beta: float = 0.0) -> Tensor:
        """Return standard normal noise (B, samples, H, A), coloured over environment steps."""
        repeat, size = self.space.repeat, self.space.size
        noise = self.noise.draw(samples, steps=self.horizon * repeat, size=size // repeat, beta=beta)
        return noise.view(self.batch, samples, self.horizon, size)


class Search:
    """Candidates are asked for their cost here, and the ``keep`` best of all rounds are kept, best first."""

    def __init__(self, problem: Problem, *, keep: int = 1) -> None:
        self.problem = problem
        self.best = torch.empty(0)  # (B, k, H, A), in units
        self.best_costs = torch.empty(0)  # (B, k)
        self.stopped = torch.zeros(problem.batch, dtype=torch.bool, device=problem.space.device)
        self._keep = keep
        self._trace: list[Tensor] = []

    def ask(self, units: Tensor, *, gradient: bool = False) -> Tensor:
        """Return the costs (B, S) of candidates (B, S, H, A), in units; problems that stopped keep none of them."""
        costs = self.problem.evaluate(units, gradient=gradient)
        self._remember(units.detach(), costs.detach())
        return costs

    def _remember(self, units: Tensor, costs: Tensor) -> None:
        costs, units = lowest(costs.masked_fill(self.stopped[:, None], float("inf")), units, self._keep)
        if self.best_costs.numel():
            costs = torch.cat([self.best_costs, costs], dim=1)
            units = torch.cat([self.best, units], dim=1)
        self.best_costs, self.best = lowest(costs, units, self._keep)

    def settle(self, units: Tensor) -> None:
        """Answer with ``units``, (B, 1, H, A), whatever cost less."""
        self.best_costs, self.best = self.problem.evaluate(units), units

    def end_round(self, *, tolerance: float = 0.0) -> bool:
        """Note the lowest costs; return whether all problems stopped.

        A problem stops where its lowest cost fell by less than the fraction ``tolerance`` in this round.
        """
        self._trace.append(self.best_costs[:, 0])
        if tolerance == 0 or len(self._trace) == 1:
            return False
        before = self._trace[-2]
        self.stopped = self.stopped | (before - self._trace[-1] < tolerance * before.abs())
        return bool(self.stopped.all())

    def plan(self) -> Plan:
        """Return the best candidate of all."""
        actions = self.problem.space.actions(self.best[:, 0])
        return Plan(actions.clone(), self.best_costs[:, 0].clone(), torch.stack(self._trace, dim=1))


def lowest(costs: Tensor, units: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` lowest of (B, S) costs and their candidates (B, S, H, A), lowest first."""
    values, index = costs.topk(min(count, costs.shape[1]), dim=1, largest=False)
    return values, units.gather(1, index[..., None, None].expand(-1, -1, *units.shape[2:]))


def shifted(actions: Tensor, steps: int) -> Tensor:
    """Return what is left of plans (B, H, A) after ``steps``; their last action fills the end (iCEM, section 3.2)."""
    last = actions[:, -1:].expand(-1, min(steps, actions.shape[1]), -1)
    return torch.cat([actions[:, steps:], last], dim=1)


def start_units(space: Space, warm_start: Tensor | None, *, batch: int, horizon: int) -> Tensor | None:
    """Return the warm start (B, H, A) in units, (B, 1, H, A). Raises DataError for other shapes or bad actions."""
    if warm_start is None:
        return None
    wanted = (batch, horizon, space.size)
    if warm_start.shape != wanted:
        raise DataError(f"warm_start is {tuple(warm_start.shape)} -- it must be (B, H, A) = {wanted}")
    actions = warm_start.detach().to(space.device, torch.float32)
    space.check(actions)
    return space.units(actions)[:, None]


def check_sizes(*, horizon: int, batch: int) -> None:
    """Raise ConfigError for a horizon or a batch below 1."""
    if horizon < 1:
        raise ConfigError(f"horizon {horizon} -- a plan needs 1 model step or more")
    if batch < 1:
        raise ConfigError(f"batch {batch} -- there must be 1 problem or more")
