import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from jepa.errors import ConfigError, DataError
from jepa.planning import BoxSpace, DiscreteSpace, as_space
from tests.planning.problems import UNEVEN


def test_actions_never_pass_a_bound_by_rounding(generator):
    bounds = (
        torch.randn(2000, generator=generator) * 10 ** (8 * torch.rand(2000, generator=generator) - 4)
    ).sort()
    low, high = bounds.values[:-1], bounds.values[1:]
    units = torch.cat(
        [
            torch.rand(500, len(low), generator=generator) * 2 - 1,
            torch.ones(1, len(low)),
            -torch.ones(1, len(low)),
        ]
    )
    actions = BoxSpace(low, high).actions(units)
    assert (actions >= low).all() and (actions <= high).all()
    assert torch.equal(actions[-2], high) and torch.equal(actions[-1], low)


def test_units_and_actions_are_inverse(generator):
    units = torch.rand(4, 3, UNEVEN.size, generator=generator) * 2 - 1
    torch.testing.assert_close(UNEVEN.units(UNEVEN.actions(units)), units)
    torch.testing.assert_close(UNEVEN.actions(UNEVEN.neutral()), torch.tensor([1.0, 0.6]))


def test_an_action_that_cannot_vary_is_its_only_value():
    space = BoxSpace(torch.tensor([0.1, -1.0]), torch.tensor([0.1, 1.0]))
    actions = space.actions(torch.tensor([0.3, 0.3]))
    space.check(actions)
    assert actions[0] == space.low[0] and space.units(actions)[0] == 0


def test_a_block_is_the_environments_actions_side_by_side():
    space = UNEVEN.tile(3)
    assert space.size == 6 and space.repeat == 3
    torch.testing.assert_close(space.actions(torch.ones(6)), torch.tensor([3.0, 0.7]).repeat(3))
    assert DiscreteSpace(4).tile(3).size == 12


def test_uniform_draws_are_uniform(generator):
    noise = torch.randn(40_000, 4, generator=generator)
    units = BoxSpace(-torch.ones(4), torch.ones(4)).uniform(noise)
    histogram = torch.histc(units, 10, -1, 1) / units.numel()
    torch.testing.assert_close(histogram, torch.full((10,), 0.1), atol=0.005, rtol=0)
    choices = DiscreteSpace(4).uniform(noise)
    torch.testing.assert_close(choices.mean(dim=0), torch.full((4,), 0.25), atol=0.01, rtol=0)
    assert torch.equal(choices.sum(dim=-1), torch.ones(40_000))


def test_gymnasium_spaces_become_ours():
    box = as_space(spaces.Box(np.array([-1, 0], np.float32), np.array([1, 2], np.float32)))
    assert box.low.tolist() == [-1, 0] and box.high.tolist() == [1, 2]
    assert as_space(spaces.Discrete(5)).n == 5
    assert as_space(box) is box


def test_bounds_of_more_digits_are_not_passed():
    space = spaces.Box(np.array([-0.1, 0.7]), np.array([0.1, 0.8]), dtype=np.float64)
    ours = as_space(space)
    for units in (torch.ones(2), -torch.ones(2)):
        assert space.contains(ours.actions(units).numpy().astype(np.float64))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "action 0 lies between -inf and inf -- planning needs finite"),
        (spaces.Box(-1, 1, (3, 2)), r"bounds of shapes \(3, 2\) and \(3, 2\) -- both must be \(A,\)"),
        (spaces.Box(0, 9, (2,), np.int64), "planning searches Box of floats and Discrete from 0"),
        (spaces.Discrete(3, start=1), "planning searches Box of floats and Discrete from 0"),
        (spaces.MultiDiscrete([2, 3]), "MultiDiscrete.*single_action_space"),
        (spaces.Discrete(1), "1 discrete actions -- planning needs a choice"),
    ],
)
def test_spaces_that_cannot_be_searched_are_refused(space, message):
    with pytest.raises(ConfigError, match=message):
        as_space(space)


def test_bounds_that_cross_are_refused():
    with pytest.raises(ConfigError, match="action 1 lies between 2 and 1"):
        BoxSpace(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))


@pytest.mark.parametrize("bad", [3.5, math.nan, -1.1])
def test_actions_out_of_bounds_are_named(bad):
    actions = torch.tensor([[1.0, 0.6, bad, 0.6]])
    with pytest.raises(DataError, match=rf"action 0 is {bad:g} -- it must lie between -1 and 3"):
        UNEVEN.tile(2).check(actions)


@pytest.mark.parametrize("bad", [[0, 0, 0], [1, 1, 0], [0.5, 0.5, 0]])
def test_discrete_actions_must_be_one_hot(bad):
    DiscreteSpace(3, repeat=2).check(torch.tensor([[0.0, 1, 0, 0, 0, 1]]))
    with pytest.raises(DataError, match="not one-hot -- each must be 3 numbers"):
        DiscreteSpace(3, repeat=2).check(torch.tensor([[0.0, 1, 0, *bad]]))
