from dataclasses import replace

import pytest
import torch

from jepa.config.load import parse
from jepa.config.planning import (
    ActionCost,
    CemConfig,
    CemMeanConfig,
    GoalCost,
    GradientConfig,
    ICemConfig,
    MppiConfig,
    PlannerConfig,
    RefineConfig,
    SearchConfig,
    ValueCost,
)
from jepa.config.planning import RandomShooting as RandomConfig
from jepa.errors import ConfigError
from jepa.planning import (
    CEM,
    ICEM,
    MPPI,
    CEMMean,
    Gradient,
    Imagined,
    RandomShooting,
    Refine,
    build_cost,
    build_solver,
)
from tests.planning.problems import UNEVEN, PointModel

SEARCH = {"solver": {"kind": "cem"}, "horizon": 5}


@pytest.mark.parametrize(
    ("config", "solver"),
    [
        (RandomConfig(kind="random"), RandomShooting()),
        (CemConfig(kind="cem"), CEM()),
        (CemMeanConfig(kind="cem-mean"), CEMMean()),
        (ICemConfig(kind="icem"), ICEM()),
        (MppiConfig(kind="mppi"), MPPI()),
        (GradientConfig(kind="gradient"), Gradient()),
        (RefineConfig(kind="cem-gradient"), Refine()),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_the_defaults_of_configs_and_solvers_agree(config, solver):
    assert build_solver(config) == solver


def test_settings_reach_the_solver():
    config = ICemConfig(kind="icem", samples=64, elites=8, noise_beta=1.0, keep=0.5)
    assert build_solver(config) == replace(ICEM(), samples=64, elites=8, noise_beta=1.0, keep=0.5)
    both = RefineConfig(kind="cem-gradient", cem=CemConfig(kind="cem", momentum=0.15))
    assert build_solver(both) == Refine(cem=CEM(momentum=0.15))


def test_costs_are_weighted_and_added(generator):
    model = PointModel(frame_skip=2)
    model.value = lambda z, goal: (z - goal).abs().sum(dim=(-2, -1))
    z, goal = torch.rand(2, 3, 4, 1, 2, generator=generator), torch.rand(2, 1, 2, generator=generator)
    blocks = UNEVEN.tile(2)
    actions = blocks.actions(torch.rand(2, 3, 4, 4, generator=generator))
    configs = (
        GoalCost(kind="goal", distance="l1", steps="all", weight=3.0),
        ValueCost(kind="value"),
        ActionCost(kind="action", weight=0.1),
    )
    costs = build_cost(configs, model, UNEVEN)(Imagined(z, actions, z[:, 0, 0], goal))
    difference = (z - goal[:, None, None]).abs()
    expected = 3 * difference.mean(dim=(2, 3, 4)) + difference[:, :, -1].sum(dim=(-2, -1))
    torch.testing.assert_close(costs, expected + 0.1 * blocks.units(actions).square().mean(dim=(2, 3)))


def test_a_value_cost_needs_a_learned_value():
    with pytest.raises(
        ConfigError, match="needs a world model with a learned distance in time, this one has none"
    ):
        build_cost([ValueCost(kind="value")], PointModel(), UNEVEN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": {"kind": "icem", "samples": 20}}, "elites 30 must not be more than samples 20"),
        ({"solver": {"kind": "cem-mean", "samples": 9}}, "elites 10 must not be more than samples 9"),
        ({"solver": {"kind": "cem-mean", "elites": 1}}, "elites"),
        ({"solver": {"kind": "cem-mean", "momentum": [0.1, 1.0]}}, "momentum"),
        ({"replan_every": 6}, "replan_every 6 must not be more than horizon 5"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(changes, message):
    assert parse(SEARCH, SearchConfig).horizon == 5
    with pytest.raises(ConfigError, match=message):
        parse(SEARCH | changes, SearchConfig)


def test_bounds_in_the_wrong_order_are_refused():
    planner = SEARCH | {"name": "x", "costs": [{"kind": "goal"}], "bounds": [[-1, 1], [0, 0]]}
    assert parse(planner, PlannerConfig).bounds == ((-1, 1), (0, 0))
    with pytest.raises(ConfigError, match="bounds: 1 is above -1"):
        parse(planner | {"bounds": [[1, -1]]}, PlannerConfig)


def test_one_setting_or_one_for_each_number_reach_the_solver():
    config = {"kind": "cem-mean", "momentum": [0.25, 0.15], "initial_std": [1, 1.3333], "dead_zone": 0.1}
    search = parse(SEARCH | {"solver": config}, SearchConfig)
    assert build_solver(search.solver) == CEMMean(
        momentum=(0.25, 0.15), initial_std=(1, 1.3333), dead_zone=0.1
    )
