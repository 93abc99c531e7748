import pytest
import torch

from jepa.errors import ConfigError
from jepa.planning import CEM, ICEM, BoxSpace, RandomShooting
from tests.planning.problems import generators, quadratic

UNIT = BoxSpace(-torch.ones(2), torch.ones(2))


class Counted:
    """A cost that notes how many candidates each call has."""

    def __init__(self, cost):
        self.cost, self.candidates = cost, []

    def __call__(self, actions):
        self.candidates.append(actions.shape[1])
        return self.cost(actions)


def rastrigin(actions):
    """Many local minima, the lowest at .4."""
    u = 3 * (actions - 0.4)
    return (u.square() - 0.5 * torch.cos(6.28 * u) + 0.5).sum(dim=(-2, -1))


def test_the_elites_are_the_lowest_and_the_distribution_is_theirs():
    """One round typed out: the centre of the second round is the mean of the best of the first."""
    seen = []

    def cost(actions):
        seen.append(actions)
        return quadratic(torch.full((1, 1, 2, 2), 0.6))(actions)

    CEM(samples=50, iterations=2, elites=5, momentum=0.15).solve(
        cost, horizon=2, action_space=UNIT, generator=torch.Generator()
    )
    first, second, _ = seen
    costs = (first - 0.6).square().sum(dim=(-2, -1))[0]
    elites = first[0, costs.argsort()[:5]]
    torch.testing.assert_close(second[0, 0], 0.85 * elites.mean(dim=0))  # the first centre was 0
    torch.testing.assert_close(second[0, 1], elites[0])  # the best so far competes again


@pytest.mark.parametrize("solver", [CEM, ICEM])
def test_more_elites_than_samples_are_refused(solver):
    with pytest.raises(ConfigError, match="elites 30 of 20 samples"):
        solver(samples=20)


def test_rounds_and_candidates_are_as_many_as_asked():
    cost = Counted(quadratic(torch.zeros(1, 1, 2, 2)))
    plan = CEM(samples=40, iterations=4, elites=4).solve(cost, horizon=2, action_space=UNIT)
    assert cost.candidates == [40, 40, 40, 40, 1]
    assert plan.trace.shape == (1, 4)


@pytest.mark.parametrize("solver", [CEM(tolerance=0.3), ICEM(tolerance=0.3)])
def test_a_problem_stops_on_its_own_cost_and_leaves_the_others_alone(solver):
    """The first problem's costs do not depend on its actions; the others' do."""
    slope = torch.tensor([0.0, 1.0, 3.0])[:, None]
    optimum = torch.tensor([0.5, 0.5, -0.7])[:, None, None, None].expand(3, 1, 5, 2)

    def problem(rows):
        return lambda actions: 1 + slope[rows] * (quadratic(optimum[rows])(actions) - 1)

    together = solver.solve(
        problem([0, 1, 2]), horizon=5, action_space=UNIT, batch=3, generator=generators(1, 2, 3)
    )
    for row, seed in enumerate((1, 2, 3)):
        alone = solver.solve(problem([row]), horizon=5, action_space=UNIT, generator=generators(seed))
        torch.testing.assert_close(together.actions[row], alone.actions[0])
        assert torch.equal(together.trace[row, : alone.trace.shape[1]], alone.trace[0])
    first = solver.solve(problem([0]), horizon=5, action_space=UNIT, generator=generators(1))
    assert first.trace.shape[1] == 2 < together.trace.shape[1]


def test_the_tolerance_is_a_fraction_of_the_cost():
    optimum = torch.full((1, 1, 5, 2), 0.5)
    rounds = [
        CEM(tolerance=0.5, iterations=30)
        .solve(
            lambda actions, scale=scale: scale * quadratic(optimum)(actions),
            horizon=5,
            action_space=UNIT,
            generator=torch.Generator(),
        )
        .trace.shape[1]
        for scale in (2.0**-20, 1.0, 2.0**20)
    ]
    assert rounds[0] == rounds[1] == rounds[2] < 30


def test_no_tolerance_runs_all_rounds():
    plan = CEM(samples=10, elites=2).solve(
        lambda actions: actions.sum(dim=(2, 3)) * 0, horizon=2, action_space=UNIT
    )
    assert plan.trace.shape == (1, 10)


def test_cem_finds_the_lowest_of_many_minima_where_uniform_draws_do_not():
    settings = {"horizon": 3, "action_space": UNIT, "batch": 4, "generator": torch.Generator()}
    refined = CEM(samples=400, iterations=10, elites=40, min_std=0.01).solve(rastrigin, **settings)
    drawn = RandomShooting(samples=4000).solve(rastrigin, **settings)
    assert (refined.cost < 0.25 * drawn.cost).all()


def test_icem_draws_fewer_candidates_each_round_and_keeps_elites():
    cost = Counted(quadratic(torch.full((1, 1, 6, 2), 0.3)))
    ICEM(samples=100, iterations=6, elites=20, decay=1.5, keep=0.5).solve(cost, horizon=6, action_space=UNIT)
    assert cost.candidates == [100, 66, 44, 40, 40, 40]


def test_icems_elites_compete_again():
    """Only the kept ones can hold the fit near the optimum that the first round was shown."""
    shown = torch.full((1, 4, 2), 0.9)
    centres = []

    def cost(actions):
        centres.append(actions.mean(dim=1))
        return quadratic(shown[:, None])(actions)

    settings = {"horizon": 4, "action_space": UNIT, "warm_start": shown}
    for keep in (0.0, 1.0):
        solver = ICEM(
            samples=10, iterations=3, elites=1, initial_std=0.9, min_std=0.9, keep=keep, noise_beta=0
        )
        plan = solver.solve(cost, generator=torch.Generator(), **settings)
        assert float(plan.cost) == pytest.approx(0, abs=1e-9)
    kept, forgotten = centres[-1], centres[2]
    assert (kept - 0.9).abs().mean() < (forgotten - 0.9).abs().mean()


def test_coloured_noise_makes_candidates_smooth_within_blocks_too():
    seen = []

    def cost(actions):
        seen.append(actions.view(1, -1, 4 * 3, 2))
        return actions.sum(dim=(2, 3))

    space = UNIT.tile(3)
    for beta in (0.0, 2.0):
        ICEM(iterations=1, noise_beta=beta).solve(
            cost, horizon=4, action_space=space, generator=torch.Generator()
        )
    rough, smooth = (drawn.diff(dim=2).square().mean() / drawn.square().mean() for drawn in seen)
    assert smooth < 0.4 * rough
