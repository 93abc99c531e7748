"""From configs to solvers and costs."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from jepa.config.planning import CostConfig, RefineConfig, SolverConfig
from jepa.errors import ConfigError
from jepa.planning.cem import CEM
from jepa.planning.cem_mean import CEMMean
from jepa.planning.costs import ActionPenalty, Cost, GoalDistance, LearnedValue
from jepa.planning.gradient import Gradient
from jepa.planning.icem import ICEM
from jepa.planning.mppi import MPPI
from jepa.planning.random_shooting import RandomShooting
from jepa.planning.refine import Refine
from jepa.planning.solver import ActionSpace, Solver
from jepa.planning.spaces import Space, as_space
from jepa.types import WorldModel

SOLVERS: dict[str, Callable[..., Solver]] = {
    "random": RandomShooting,
    "cem": CEM,
    "cem-mean": CEMMean,
    "icem": ICEM,
    "mppi": MPPI,
    "gradient": Gradient,
}


def build_solver(config: SolverConfig) -> Solver:
    """Build the solver that ``config`` describes. Raises ConfigError for settings that contradict each other."""
    if isinstance(config, RefineConfig):
        return Refine(cem=_build(config.cem, CEM), gradient=_build(config.gradient, Gradient))
    return _build(config, SOLVERS[config.kind])


def build_cost(costs: Sequence[CostConfig], world_model: WorldModel, action_space: ActionSpace) -> Cost:
    """Build the sum of ``costs``; ``action_space`` is the environment's, as for `jepa.planning.MPC`.

    Raises ConfigError for a value cost where the world model learned no value, and for an action cost where
    actions are discrete.
    """
    space = as_space(action_space).tile(world_model.frame_skip)
    return reduce(add, (_term(config, world_model, space) for config in costs))


def _term(config: CostConfig, world_model: WorldModel, space: Space) -> Cost:
    match config.kind:
        case "goal":
            cost: Cost = GoalDistance(config.distance, pool=config.pool, steps=config.steps)
        case "value":
            value = getattr(world_model, "value", None)
            if value is None:
                raise ConfigError(
                    "costs: kind value needs a world model with a learned distance in time, this one has none -- "
                    "train it with a value section, or use kind goal"
                )
            cost = LearnedValue(value, steps=config.steps)
        case "action":
            cost = ActionPenalty(space)
    return cost if config.weight == 1 else config.weight * cost


def _build(config: Any, solver: Callable[..., Any]) -> Any:
    return solver(**config.model_dump(exclude={"kind"}))
