"""Gradient descent on the actions, through the world model."""

from dataclasses import dataclass

import torch
from torch import Tensor

from jepa.errors import ConfigError, RunError
from jepa.planning.search import Search
from jepa.planning.solver import Solver
from jepa.planning.spaces import BoxSpace


@dataclass(frozen=True, kw_only=True)
class Gradient(Solver):
    """Adam from several starts, each step projected into the bounds; the lowest cost of any step wins.

    The starts are the warm start (without one, the middle of the range) and uniform draws. Only the actions get
    gradients.
    """

    restarts: int = 16
    """Starts."""
    iterations: int = 50
    """Steps of Adam."""
    learning_rate: float = 0.1
    """Adam's, as a fraction of half the range."""

    def run(self, search: Search) -> None:
        """Draw the starts, descend."""
        problem = search.problem
        drawn = problem.space.uniform(problem.draw(self.restarts))
        first = problem.start
        if first is None:
            first = problem.space.neutral().expand(problem.batch, 1, problem.horizon, -1)
        self.descend(search, torch.cat([first, drawn[:, 1:]], dim=1))

    def descend(self, search: Search, starts: Tensor) -> None:
        """Follow the gradient from ``starts``, (B, R, H, A) in units. Raises ConfigError for discrete actions."""
        if not isinstance(search.problem.space, BoxSpace):
            raise ConfigError(
                "gradient steps need continuous actions, these are discrete -- use cem, icem, mppi or random"
            )
        adam = Adam(starts)
        units, slope = starts, ask_slope(search, starts)
        for _ in range(self.iterations):
            units = (units - self.learning_rate * adam.step(slope)).clamp(-1, 1)
            slope = ask_slope(search, units)
            search.end_round()


def ask_slope(search: Search, units: Tensor) -> Tensor:
    """Ask for the costs of ``units`` (B, R, H, A) and return their gradient. Raises RunError where there is none."""
    with torch.enable_grad():
        units = units.clone().requires_grad_()
        costs = search.ask(units, gradient=True)
        slope = torch.autograd.grad(costs.sum(), units, allow_unused=True)[0] if costs.requires_grad else None
    if slope is None:
        raise RunError(
            "the cost has no gradient with respect to the actions -- use a sampling solver, or take torch.no_grad out "
            "of the world model's rollout and of the cost"
        )
    return slope


class Adam:
    """Adam's steps (arXiv:1412.6980, algorithm 1), without the seconds that importing `torch.optim.Adam` takes."""

    def __init__(self, like: Tensor) -> None:
        self._mean, self._square = torch.zeros_like(like), torch.zeros_like(like)
        self._count = 0

    def step(self, slope: Tensor) -> Tensor:
        """Return the step that follows ``slope``, to be subtracted after the learning rate is multiplied."""
        self._count += 1
        self._mean = slope.lerp(self._mean, 0.9)
        self._square = slope.square().lerp(self._square, 0.999)
        deviation = (self._square / (1 - 0.999**self._count)).sqrt()
        return self._mean / (1 - 0.9**self._count) / (deviation + 1e-8)
