"""The search of V-JEPA 2-AC against the released one written down plainly, given the same noise."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from jepa.config.load import load_config
from jepa.config.plan import PlanConfig
from jepa.errors import ConfigError
from jepa.models.formats.vjepa2_ac import released_dynamics
from jepa.models.poses import moved
from jepa.models.scaling import Scaling
from jepa.models.world_model import LatentWorldModel
from jepa.planning import BoxSpace, CEMMean, DiscreteSpace, GoalDistance, Imagined, build_solver
from jepa.planning.noise import Noise
from jepa.planning.spaces import bounded, within
from jepa.types import Grid
from tests.models.formats.vjepa2_ac_reference import Predictor, imagine, make_predictor, plan
from tests.planning.problems import UNEVEN, generators, quadratic

CONFIGS = Path(__file__).parents[2] / "configs" / "plan"
GRIPPER = 0.75
RELEASED = {  # notebooks: utils/world_model_wrapper.py; utils/mpc_utils.py's defaults; energy_landscape_example.ipynb
    "wrapper": (0.05, {"mean": 0.15, "std": 0.15, "mean_gripper": 0.15, "std_gripper": 0.15}),
    "defaults": (0.05, {"mean": 0.25, "std": 0.95, "mean_gripper": 0.15, "std_gripper": 0.15}),
    "notebook": (0.075, {"mean": 0.15, "std": 0.75, "mean_gripper": 0.15, "std_gripper": 0.15}),
}


class Frames(torch.nn.Module):
    """Stands for an encoder of frames whose latents are given."""

    grid, dim, tokens = Grid(1, 2, 2), 24, 4


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return make_predictor(dim=24, width=192, depth=2)


@pytest.fixture(scope="module")
def model(weights) -> LatentWorldModel:
    dynamics = released_dynamics(weights, "here", dim=24, grid=Frames.grid)
    scaling = Scaling(action_size=7, proprio_size=7, frame_skip=1)
    return LatentWorldModel(Frames(), dynamics, scaling, resolution=32, next_state="pose").eval()


def published_space(radius: float) -> BoxSpace:
    high = torch.tensor([radius, radius, radius, 0, 0, 0, GRIPPER])
    return BoxSpace(-high, high)


def published_solver(momentum: dict[str, float], **changes) -> CEMMean:
    settings = {
        "samples": 24,
        "iterations": 3,
        "elites": 5,
        "initial_std": (1, 1, 1, 1, 1, 1, 1 / GRIPPER),
        "momentum": (momentum["mean"],) * 6 + (momentum["mean_gripper"],),
        "momentum_std": (momentum["std"],) * 6 + (momentum["std_gripper"],),
        "dead_zone": (0, 0, 0, 0, 0, 0, 0.25),
    }
    return CEMMean(**settings | changes)


@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("settings", RELEASED)
def test_the_action_is_that_of_the_released_search(model, weights, settings, horizon):
    radius, momentum = RELEASED[settings]
    draw = torch.Generator().manual_seed(horizon)
    z, goal = torch.randn(2, 4, 24, generator=draw).unbind(0)
    state = torch.rand(7, generator=draw)
    solver = published_solver(momentum)

    def ours(actions):
        future = model.rollout(z[None, None], actions, proprio=state[None, None])
        return GoalDistance("l1")(Imagined(future, actions, z[None], goal[None]))

    def theirs(actions):
        released = Predictor(weights, 2, 2)
        future = imagine(
            released, z.expand(len(actions), 4, 24), actions, state.expand(len(actions), 7), moved
        )
        return (future - goal).abs().flatten(1).mean(dim=1)

    found = solver.solve(ours, horizon=horizon, action_space=published_space(radius), generator=generators(7))
    stream = Noise(generators(7), batch=1, device=torch.device("cpu"))
    noise = torch.stack([stream.draw(24, steps=horizon, size=7)[0] for _ in range(3)])[..., [0, 1, 2, 6]]
    wanted = plan(theirs, noise, radius=radius, elites=5, momentum=momentum)
    assert wanted[:, :3].abs().max() > 0.01
    torch.testing.assert_close(found.actions[0], wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.cost, theirs(wanted[None]), atol=1e-5, rtol=0)
    assert found.trace.shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "samples", "horizon", "radius"), [("paper", 800, 1, 0.075), ("notebook", 400, 2, 0.05)]
)
def test_the_shipped_configs_are_the_published_settings(name, samples, horizon, radius):
    config = load_config(CONFIGS / f"vjepa2-ac-{name}.yaml", schema=PlanConfig)
    (planner,) = config.planners
    solver = build_solver(planner.solver)
    momentum = {"mean": 0.15, "std": 0.15, "mean_gripper": 0.15, "std_gripper": 0.15}
    wanted = published_solver(momentum, samples=samples, iterations=10, elites=10)
    space = bounded(published_space(9.0), planner.bounds)
    torch.testing.assert_close(space.high, published_space(radius).high)
    torch.testing.assert_close(space.low, -space.high)
    for setting in ("initial_std", "momentum", "momentum_std", "dead_zone"):
        both = (space.each(setting, getattr(one, setting)) for one in (solver, wanted))
        torch.testing.assert_close(*both, atol=1e-6, rtol=0)
    assert (solver.samples, solver.iterations, solver.elites) == (samples, 10, 10)
    assert (planner.horizon, planner.context, planner.warm_start) == (horizon, 1, False)
    assert config.goals.ahead == horizon  # which the horizon is set to
    assert [cost.model_dump() for cost in planner.costs] == [
        {"kind": "goal", "distance": "l1", "pool": False, "steps": "last", "weight": 1.0}
    ]


def test_candidates_stay_inside_and_still_numbers_stand_still():
    seen = []

    def cost(actions):
        seen.append(actions)
        return actions.sum(dim=(-2, -1))

    space = published_space(0.05)
    published_solver(RELEASED["wrapper"][1]).solve(cost, horizon=2, action_space=space)
    everything = torch.cat([one.flatten(0, 2) for one in seen])
    assert (everything.abs() <= space.high).all() and (everything[:, 3:6] == 0).all()
    assert (everything[:, 6].abs() == GRIPPER).any() and everything[:, :3].unique().numel() > 100


def test_small_numbers_of_the_answer_become_0_and_it_costs_what_it_costs():
    """The optimum is .2 for both numbers, of which the second does not count below .3."""
    space, cost = BoxSpace(-torch.ones(2), torch.ones(2)), quadratic(torch.full((1, 1, 1, 2), 0.2))
    found = CEMMean(samples=100, elites=5, dead_zone=(0.0, 0.3)).solve(
        cost, horizon=1, action_space=space, generator=generators(0)
    )
    assert abs(float(found.actions[0, 0, 0]) - 0.2) < 0.02 and float(found.actions[0, 0, 1]) == 0
    torch.testing.assert_close(found.cost, cost(found.actions[None])[0])
    assert float(found.cost) > 0.03 > float(found.trace[0, -1])


def test_each_problem_is_searched_as_if_alone_and_from_its_warm_start():
    optimum = torch.tensor([[0.1, 0.6], [2.0, 0.65]])[:, None, None]
    solver = CEMMean(samples=40, iterations=4, elites=5)
    start = torch.tensor([[[2.9, 0.51]], [[-0.9, 0.69]]])
    together = solver.solve(
        quadratic(optimum),
        horizon=1,
        action_space=UNEVEN,
        batch=2,
        warm_start=start,
        generator=generators(1, 2),
    )
    for row in range(2):
        alone = solver.solve(
            quadratic(optimum[row : row + 1]),
            horizon=1,
            action_space=UNEVEN,
            warm_start=start[row : row + 1],
            generator=generators(1 + row),
        )
        torch.testing.assert_close(together.actions[row], alone.actions[0])
    still = CEMMean(iterations=1, momentum=1.0).solve(
        quadratic(optimum), horizon=1, action_space=UNEVEN, batch=2, warm_start=start
    )
    torch.testing.assert_close(still.actions, start)


def test_settings_of_each_number_are_those_of_every_environment_step():
    space = UNEVEN.tile(3)
    torch.testing.assert_close(space.each("x", (1.0, 2.0)), torch.tensor([1.0, 2, 1, 2, 1, 2]))
    torch.testing.assert_close(space.each("x", 0.5), torch.full((6,), 0.5))
    with pytest.raises(ConfigError, match="momentum has 3 values for actions of 2 numbers"):
        CEMMean(momentum=(0.1, 0.1, 0.1)).solve(quadratic(0), horizon=1, action_space=UNEVEN)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"elites": 1}, "elites 1 of 800 samples"),
        ({"samples": 9}, "elites 10 of 9 samples"),
        ({"momentum": 1.5}, "momentum 1.5 -- it must lie between 0 and 1"),
        ({"momentum_std": (0.1, 2.0)}, "momentum_std 2 -- it must lie between 0 and 1"),
        ({"initial_std": (-1.0, 1.0)}, "initial_std -1"),
        ({"iterations": 0}, "iterations 0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        CEMMean(**settings)


def test_discrete_actions_are_refused():
    with pytest.raises(ConfigError, match="cem-mean needs continuous actions"):
        CEMMean().solve(lambda a: a.sum(dim=(-2, -1)), horizon=1, action_space=DiscreteSpace(3))


def test_bounds_narrow_a_space_and_stay_inside_of_it():
    narrow = within(UNEVEN.tile(2), ((-0.5, 0.5), (0.6, 0.6)))
    assert narrow.size == 4 and narrow.low.tolist() == pytest.approx([-0.5, 0.6])
    torch.testing.assert_close(narrow.actions(torch.ones(4)), torch.tensor([0.5, 0.6, 0.5, 0.6]))
    assert within(UNEVEN, None) is UNEVEN
    assert within(UNEVEN, ((-1, 3), (0.5, 0.7))).low.tolist() == UNEVEN.low.tolist()
    with pytest.raises(ConfigError, match="-1 to 5 for action 0 -- the environment's lies between -1 and 3"):
        within(UNEVEN, ((-1, 5), (0.5, 0.7)))
    assert bounded(UNEVEN, ((-1, 5), (0.5, 0.7))).high.tolist() == pytest.approx([5, 0.7])
    for change in (within, bounded):
        with pytest.raises(ConfigError, match="bounds has 1 pairs for actions of 2 numbers"):
            change(UNEVEN, ((-1, 1),))
        with pytest.raises(ConfigError, match="these are discrete"):
            change(DiscreteSpace(3), ((-1, 1),))
