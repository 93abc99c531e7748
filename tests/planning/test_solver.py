"""What holds for every solver."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from jepa.errors import ConfigError, DataError, RunError
from jepa.planning import CEM, ICEM, MPPI, BoxSpace, DiscreteSpace, Gradient, RandomShooting
from jepa.planning.search import shifted
from tests.planning.problems import SAMPLING, SOLVERS, UNEVEN, Grid, generators, quadratic

UNIT = BoxSpace(-torch.ones(2), torch.ones(2))
every = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
searching = pytest.mark.parametrize(
    "solver",
    [SOLVERS[name] for name in SOLVERS if name != "random"],
    ids=[n for n in SOLVERS if n != "random"],
)
sampling = pytest.mark.parametrize("solver", [SOLVERS[name] for name in SAMPLING], ids=SAMPLING)


class Watched:
    """A cost that notes all candidates and their costs."""

    def __init__(self, cost):
        self.cost, self.actions, self.costs = cost, [], []

    def __call__(self, actions):
        costs = self.cost(actions)
        self.actions.append(actions.detach())
        self.costs.append(costs.detach())
        return costs


@every
@pytest.mark.parametrize("optimum", [(0.3, 0.62), (5.0, 0.3)], ids=["inside", "outside"])
def test_candidates_stay_inside_and_none_is_better_than_the_plan(solver, optimum):
    cost = Watched(quadratic(torch.tensor(optimum).expand(2, 1, 3, 2)))
    plan = solver.solve(cost, horizon=3, action_space=UNEVEN, batch=2, generator=torch.Generator())
    actions, costs = torch.cat(cost.actions, dim=1), torch.cat(cost.costs, dim=1)
    assert (actions >= UNEVEN.low).all() and (actions <= UNEVEN.high).all()
    torch.testing.assert_close(plan.cost, costs.amin(dim=1))
    torch.testing.assert_close(cost.cost(plan.actions[:, None])[:, 0], plan.cost)
    assert plan.actions.shape == (2, 3, 2)
    torch.testing.assert_close(plan.trace[:, -1], plan.cost)
    assert (plan.trace.diff(dim=1) <= 0).all()


@searching
@pytest.mark.parametrize("optimum", [(0.3, 0.62), (5.0, 0.3)], ids=["inside", "at the bounds"])
def test_a_quadratics_optimum_is_found(solver, optimum):
    optimum, width = torch.tensor(optimum).expand(2, 1, 3, 2), UNEVEN.high - UNEVEN.low
    plan = solver.solve(
        lambda actions: quadratic(optimum / width)(actions / width),
        horizon=3,
        action_space=UNEVEN,
        batch=2,
        generator=torch.Generator(),
    )
    best = optimum[:, 0].clamp(UNEVEN.low, UNEVEN.high)
    error = (plan.actions - best).abs() / width
    assert error.max() < 0.1


@searching
def test_linear_dynamics_are_steered_as_least_squares_does(solver):
    """x' = A x + B u; |x_H - goal|^2 + .1 |u|^2, whose optimum NumPy solves in closed form."""
    rng = np.random.default_rng(0)
    transition, control = np.eye(3) + 0.1 * rng.normal(size=(3, 3)), 0.4 * rng.normal(size=(3, 2))
    start, goal, horizon = rng.normal(size=3), rng.normal(size=3), 4
    blocks = [np.linalg.matrix_power(transition, horizon - 1 - t) @ control for t in range(horizon)]
    reach = np.concatenate([np.hstack(blocks), np.sqrt(0.1) * np.eye(2 * horizon)])
    target = np.concatenate(
        [goal - np.linalg.matrix_power(transition, horizon) @ start, np.zeros(2 * horizon)]
    )
    optimal, residual, *_ = np.linalg.lstsq(reach, target, rcond=None)
    assert np.abs(optimal).max() < 1  # inside the box

    matrices = [torch.tensor(m, dtype=torch.float32) for m in (transition, control, start, goal)]

    def cost(actions):
        state = matrices[2].expand(*actions.shape[:2], 3)
        for action in actions.unbind(dim=2):
            state = state @ matrices[0].T + action @ matrices[1].T
        return (state - matrices[3]).square().sum(dim=-1) + 0.1 * actions.square().sum(dim=(-2, -1))

    plan = solver.solve(cost, horizon=horizon, action_space=UNIT, generator=torch.Generator())
    middle = float(cost(torch.zeros(1, 1, horizon, 2)))
    assert float(plan.cost) - residual[0] < 0.02 * (middle - residual[0])
    assert np.abs(plan.actions.numpy().ravel() - optimal).max() < 0.35


@every
def test_problems_of_a_batch_are_solved_as_if_alone(solver):
    optimum = torch.tensor([[0.2, 0.55], [2.0, 0.9], [-3.0, 0.61]])[:, None, None].expand(3, 1, 4, 2)
    settings = {"horizon": 4, "action_space": UNEVEN}
    together = solver.solve(quadratic(optimum), batch=3, generator=generators(5, 6, 7), **settings)
    for row, seed in enumerate((5, 6, 7)):
        alone = solver.solve(quadratic(optimum[row : row + 1]), generator=generators(seed), **settings)
        torch.testing.assert_close(together.actions[row], alone.actions[0])
        torch.testing.assert_close(together.trace[row], alone.trace[0])


@every
def test_the_same_seed_gives_the_same_plan(solver):
    def search(seed):
        cost = Watched(quadratic(torch.tensor([0.2, 0.55]).expand(2, 1, 4, 2)))
        plan = solver.solve(cost, horizon=4, action_space=UNEVEN, batch=2, generator=generators(seed)[0])
        return plan.actions, torch.cat(cost.actions, dim=1)

    for first, again in zip(search(1), search(1), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(first, search(2)[1])


@every
def test_a_warm_start_is_never_made_worse(solver):
    start = torch.tensor([0.21, 0.551]).expand(1, 4, 2)
    cost = quadratic(torch.tensor([0.2, 0.55]).expand(1, 1, 4, 2))
    plan = solver.solve(cost, horizon=4, action_space=UNEVEN, warm_start=start, generator=torch.Generator())
    assert plan.trace[0, 0] <= cost(start[:, None])[0, 0] * (1 + 1e-4)


@pytest.mark.parametrize("name", ["cem", "icem", "mppi", "gradient"])
def test_a_warm_start_is_where_the_search_starts(name):
    start = torch.full((1, 6, 2), 0.8)
    near = Watched(quadratic(start[:, None]))
    SOLVERS[name].solve(near, horizon=6, action_space=UNIT, warm_start=start, generator=torch.Generator())
    far = Watched(quadratic(start[:, None]))
    SOLVERS[name].solve(far, horizon=6, action_space=UNIT, generator=torch.Generator())
    assert near.costs[0].min() < 1e-9
    assert near.costs[0].median() < far.costs[0].median() or name == "gradient"


@pytest.mark.parametrize("solver", [CEM, ICEM, MPPI])
def test_a_shortest_path_is_found(solver):
    """One of 4 ** 6 paths."""
    settings = {"horizon": 7, "action_space": spaces.Discrete(4), "batch": 8}
    plan = solver(samples=500, iterations=15, min_std=0.2).solve(
        Grid(), generator=torch.Generator(), **settings
    )
    assert torch.equal(plan.actions.sum(dim=-1), torch.ones(8, 7))
    assert plan.cost.tolist() == [Grid.SHORTEST] * 8


@sampling
def test_discrete_blocks_of_a_batch_are_solved_as_if_alone(solver):
    wanted = torch.nn.functional.one_hot(torch.arange(6) % 3, 3).float().view(1, 1, 2, 9)

    def cost(actions):
        return (actions - wanted).abs().sum(dim=(-2, -1))

    settings = {"horizon": 2, "action_space": DiscreteSpace(3, repeat=3)}
    together = solver.solve(cost, batch=2, generator=generators(1, 2), **settings)
    alone = solver.solve(cost, generator=generators(2), **settings)
    assert torch.equal(together.actions[1], alone.actions[0])
    if solver is not SOLVERS["random"]:
        assert torch.equal(together.actions, wanted[0].expand(2, 2, 9))


@pytest.mark.parametrize("name", ["gradient", "cem-gradient"])
def test_gradient_steps_refuse_discrete_actions(name):
    with pytest.raises(
        ConfigError, match="gradient steps need continuous actions.*use cem, icem, mppi or random"
    ):
        SOLVERS[name].solve(Grid(), horizon=6, action_space=spaces.Discrete(4))


@every
def test_searches_work_inside_inference_mode(solver):
    with torch.inference_mode():
        plan = solver.solve(quadratic(torch.zeros(1, 1, 2, 2)), horizon=2, action_space=UNIT)
    assert not plan.actions.is_inference() and not plan.actions.requires_grad


@every
def test_bad_requests_are_refused(solver):
    cost = quadratic(torch.zeros(1, 1, 3, 2))
    with pytest.raises(ConfigError, match="horizon 0 -- a plan needs 1"):
        solver.solve(cost, horizon=0, action_space=UNIT)
    with pytest.raises(ConfigError, match="batch 0"):
        solver.solve(cost, horizon=3, action_space=UNIT, batch=0)
    with pytest.raises(DataError, match=r"warm_start is \(1, 2, 2\) -- it must be \(B, H, A\) = \(1, 3, 2\)"):
        solver.solve(cost, horizon=3, action_space=UNIT, warm_start=torch.zeros(1, 2, 2))
    with pytest.raises(DataError, match="action 1 is 1.5 -- it must lie between -1 and 1"):
        start = torch.tensor([0.0, 1.5]).expand(1, 3, 2)
        solver.solve(cost, horizon=3, action_space=UNIT, warm_start=start)
    with pytest.raises(RunError, match=r"the cost returned \(1,\) -- it must be \(B, S\)"):
        solver.solve(lambda actions: actions.sum(dim=(1, 2, 3)), horizon=3, action_space=UNIT)
    with pytest.raises(RunError, match=r"candidates are not finite -- check the world model"):
        solver.solve(lambda actions: actions.sum(dim=(2, 3)).log(), horizon=3, action_space=UNIT)


def test_settings_below_their_least_are_refused():
    with pytest.raises(ConfigError, match="samples 0 -- it must be 1 or more"):
        RandomShooting(samples=0)
    with pytest.raises(ConfigError, match="initial_std -0.5 -- it must be 0 or more"):
        CEM(initial_std=-0.5)
    with pytest.raises(ConfigError, match="learning_rate nan"):
        Gradient(learning_rate=float("nan"))


@pytest.mark.parametrize(("steps", "left"), [(0, [1, 2, 3]), (1, [2, 3, 3]), (3, [3, 3, 3]), (5, [3, 3, 3])])
def test_a_shifted_plan_ends_with_its_last_action(steps, left):
    assert shifted(torch.tensor([1.0, 2, 3]).view(1, 3, 1), steps).flatten().tolist() == left
