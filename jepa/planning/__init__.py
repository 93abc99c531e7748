"""Costs, solvers and the policy that plans, acts and plans again; a world model is known by its protocol alone."""

from jepa.planning.build import build_cost, build_solver
from jepa.planning.cem import CEM
from jepa.planning.cem_mean import CEMMean
from jepa.planning.costs import (
    ActionPenalty,
    Cost,
    GoalDistance,
    Imagined,
    LearnedValue,
    StateConstraint,
)
from jepa.planning.gradient import Gradient
from jepa.planning.icem import ICEM
from jepa.planning.mpc import MPC
from jepa.planning.mppi import MPPI
from jepa.planning.random_shooting import RandomShooting
from jepa.planning.refine import Refine
from jepa.planning.search import Plan
from jepa.planning.solver import Solver
from jepa.planning.spaces import BoxSpace, DiscreteSpace, as_space

__all__ = [
    "CEM",
    "ICEM",
    "MPC",
    "MPPI",
    "ActionPenalty",
    "BoxSpace",
    "CEMMean",
    "Cost",
    "DiscreteSpace",
    "GoalDistance",
    "Gradient",
    "Imagined",
    "LearnedValue",
    "Plan",
    "RandomShooting",
    "Refine",
    "Solver",
    "StateConstraint",
    "as_space",
    "build_cost",
    "build_solver",
]
