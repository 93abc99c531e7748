import pytest
import torch
from torch import nn

from jepa.errors import RunError
from jepa.planning import CEM, BoxSpace, Gradient, Refine
from jepa.planning.gradient import Adam
from tests.planning.problems import generators, quadratic

UNIT = BoxSpace(-torch.ones(2), torch.ones(2))
LINE = BoxSpace(-torch.ones(1), torch.ones(1))
WRONG_WELL = torch.full((1, 3, 2), -0.5)


def double_well(actions):
    """Wells at -.5 and .5 of each action; the second is deeper, and a ridge lies between."""
    return ((actions.square() - 0.25).square() * 16 - 0.2 * actions).sum(dim=(-2, -1))


def solve(solver, cost=double_well, **settings):
    return solver.solve(cost, horizon=3, action_space=UNIT, generator=torch.Generator(), **settings)


def test_one_start_stays_in_its_well_and_a_search_first_leaves_it():
    settings = {"horizon": 3, "action_space": LINE, "warm_start": WRONG_WELL[..., :1]}
    alone = Gradient(restarts=1, iterations=60).solve(double_well, **settings)
    assert (alone.actions < -0.4).all()
    for better in (
        Gradient(restarts=64, iterations=60),
        CEM(samples=300, iterations=10, elites=30, initial_std=1.0),
        Refine(cem=CEM(initial_std=1.0), gradient=Gradient(restarts=8)),
    ):
        found = better.solve(double_well, generator=torch.Generator(), **settings)
        assert (found.actions > 0.4).all(), better
        assert float(found.cost) < -0.28


def test_refinement_is_finer_than_the_search_it_starts_from():
    cost = quadratic(torch.full((1, 1, 3, 2), 0.123))
    search = CEM(samples=50, iterations=3, elites=10)
    coarse = solve(search, cost)
    fine = solve(Refine(cem=search, gradient=Gradient(restarts=4, iterations=40)), cost)
    assert float(fine.cost) < 0.01 * float(coarse.cost)
    torch.testing.assert_close(fine.trace[:, :2], coarse.trace[:, :2])
    assert fine.trace.shape == (1, 3 + 40)


def test_a_search_that_stopped_early_is_refined_as_if_alone():
    """The costs of the first problem do not depend on its actions; CEM stops there at once."""
    slope = torch.tensor([0.0, 1.0])[:, None]
    cost = quadratic(torch.full((2, 1, 3, 2), 0.123))
    solver = Refine(
        cem=CEM(samples=50, elites=10, tolerance=0.5), gradient=Gradient(restarts=4, iterations=30)
    )
    settings = {"horizon": 3, "action_space": UNIT}
    both = solver.solve(lambda a: slope * cost(a), batch=2, generator=generators(1, 2), **settings)
    alone = solver.solve(lambda a: cost(a)[:1], generator=generators(2), **settings)
    torch.testing.assert_close(both.actions[1], alone.actions[0])
    torch.testing.assert_close(alone.actions, torch.full((1, 3, 2), 0.123), atol=0.01, rtol=0)


def test_refinement_starts_from_the_best_candidates():
    seen = []

    def cost(actions):
        seen.append(actions.detach().clone())
        return quadratic(torch.zeros(1, 1, 3, 2))(actions)

    solve(
        Refine(cem=CEM(samples=50, iterations=2, elites=10), gradient=Gradient(restarts=7, iterations=1)),
        cost,
    )
    searched = torch.cat(seen[:3], dim=1)
    costs = searched.square().sum(dim=(-2, -1))
    torch.testing.assert_close(seen[3].square().sum(dim=(-2, -1)), costs.sort(dim=1).values[:, :7])


def test_steps_leave_a_bound_again():
    """A start on the bound must not be stuck there."""
    start = torch.ones(1, 3, 2)
    plan = solve(Gradient(restarts=1), quadratic(torch.full((1, 1, 3, 2), 0.2)), warm_start=start)
    torch.testing.assert_close(plan.actions, torch.full((1, 3, 2), 0.2), atol=0.02, rtol=0)


def test_only_the_actions_get_gradients_even_under_no_grad():
    model = nn.Linear(2, 3)
    with torch.no_grad():
        plan = solve(Gradient(iterations=5), lambda actions: model(actions).square().sum(dim=(-2, -1)))
    assert model.weight.grad is None and model.bias.grad is None
    assert plan.trace[0, -1] < plan.trace[0, 0] and not plan.cost.requires_grad


def test_a_model_that_keeps_a_table_of_its_first_call_can_be_refined():
    tables = {}

    def cost(actions):
        table = tables.setdefault("scale", torch.linspace(1, 2, 2) * 1.0)
        return (actions * table).square().sum(dim=(-2, -1))

    assert float(solve(Refine(cem=CEM(iterations=2), gradient=Gradient(restarts=2)), cost).cost) < 1e-3


def test_a_cost_without_gradient_is_named():
    with pytest.raises(
        RunError, match="the cost has no gradient with respect to the actions -- use a sampling"
    ):
        solve(Gradient(), lambda actions: actions.detach().sum(dim=(2, 3)))
    weight = torch.ones((), requires_grad=True)
    with pytest.raises(RunError, match="the cost has no gradient with respect to the actions"):
        solve(Gradient(), lambda actions: weight * actions.detach().sum(dim=(2, 3)))


def test_restarts_do_not_mix():
    """Each start descends as if it were alone: the path of the first does not depend on the others."""

    def path(restarts):
        seen = []

        def cost(actions):
            seen.append(actions[0, 0].detach().clone())
            return double_well(actions)

        solve(Gradient(restarts=restarts, iterations=7), cost, warm_start=WRONG_WELL)
        return torch.stack(seen)

    torch.testing.assert_close(path(1), path(9))


def test_steps_are_adams():
    """Algorithm 1 of arXiv:1412.6980, typed out for one number."""
    slopes = [0.3, -2.0, 0.7, 0.0, 5.0]
    mean = square = 0.0
    adam = Adam(torch.zeros(1))
    for count, slope in enumerate(slopes, start=1):
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        expected = (mean / (1 - 0.9**count)) / ((square / (1 - 0.999**count)) ** 0.5 + 1e-8)
        assert float(adam.step(torch.tensor([slope]))) == pytest.approx(expected, rel=1e-4)
