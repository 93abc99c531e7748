"""Episodes: the same trials for everybody, a fixed budget, and no one looks where they may not."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from jepa.config.envs import TwoRoomEnv
from jepa.config.planning import SearchConfig
from jepa.envs.two_room import TwoRoom
from jepa.objectives.behaviour_cloning import GoalPolicy
from jepa.planning import MPC, RandomShooting
from jepa.planning.costs import GoalDistance
from jepa.planning.search import Plan
from jepa.programs.episodes import Trial, play
from jepa.programs.films import draw_films, write_films
from jepa.programs.players import CloningPlayer, PlanningPlayer, RandomPlayer, SimulatorPlayer

ENV = TwoRoomEnv(kind="two-room", size=16)
LEFT, RIGHT = np.array([0.3, 0.5, 0.5, 0.5]), np.array([0.7, 0.5, 0.5, 0.5])


def make() -> TwoRoom:
    return TwoRoom(ENV)


class Script:
    """Plays one action for ever, and remembers what it was shown."""

    decision_s: list[float] = []

    def __init__(self, action) -> None:
        self.action, self.begun = np.array(action, np.float32), []

    def begin(self, envs, goals, seeds):
        self.begun.append((goals, list(seeds)))

    def act(self, observations, infos):
        return np.tile(self.action, (len(infos), 1))


def test_an_episode_goes_on_after_its_goal():
    right = Script([1.0, 0.0])
    (through,) = play(right, make, [Trial(0, LEFT, RIGHT)], steps=20, parallel=1)
    assert through.at_any_step and not through.at_end  # it walks past the goal, to the wall
    (there,) = play(right, make, [Trial(0, LEFT, RIGHT)], steps=8, parallel=1)
    assert there.at_end and there.at_any_step
    assert len(there.distances) == 9 and there.distances[0] == pytest.approx(0.4)
    (still,) = play(Script([0.0, 0.0]), make, [Trial(0, LEFT, RIGHT)], steps=8, parallel=1)
    assert not still.at_any_step and set(still.distances) == {still.distances[0]}


def test_trials_are_the_same_for_everybody_and_however_many_at_once():
    trials = [Trial(seed) for seed in range(5)]
    starts = [
        [outcome.distances[0] for outcome in play(player, make, trials, steps=1, parallel=parallel)]
        for player, parallel in ((Script([0, 0]), 5), (Script([1, 0]), 2), (RandomPlayer(), 3))
    ]
    assert starts[0] == starts[1] == starts[2] and len(set(starts[0])) == 5
    chunks = Script([0, 0])
    play(chunks, make, trials, steps=1, parallel=2)
    assert [seeds for _, seeds in chunks.begun] == [[0, 1], [2, 3], [4]]


def test_a_random_player_does_not_depend_on_its_neighbours():
    alone = play(RandomPlayer(), make, [Trial(3)], steps=6, parallel=1)[0]
    among = play(RandomPlayer(), make, [Trial(1), Trial(3)], steps=6, parallel=2)[1]
    assert alone.distances == among.distances


def simulator() -> SimulatorPlayer:
    return SimulatorPlayer(SearchConfig(solver={"kind": "random", "samples": 4}, horizon=2))


@pytest.mark.parametrize("player", [RandomPlayer, simulator])
def test_what_is_random_in_an_episode_follows_from_its_seed(player):
    trials = [Trial(n, LEFT, RIGHT) for n in (1, 3)]
    one, two = play(player(), make, trials, steps=6, parallel=2)
    assert one.distances != two.distances
    (alone,) = play(player(), make, trials[1:], steps=6, parallel=1)
    assert alone.distances == two.distances


@pytest.mark.parametrize("warm", [True, False])
def test_the_simulator_reaches_its_goals(warm):
    search = SearchConfig(
        solver={"kind": "cem", "samples": 64, "iterations": 3, "elites": 8},
        horizon=8,
        replan_every=2,
        warm_start=warm,
    )
    player = SimulatorPlayer(search)
    outcomes = play(player, make, [Trial(seed) for seed in range(4)], steps=60, parallel=4)
    assert all(outcome.at_end for outcome in outcomes)
    assert len(player.decision_s) == 30


class Straight:
    """A solver that always moves right, by less and less."""

    def solve(self, cost, *, horizon, action_space, batch, warm_start, generator):
        plan = torch.zeros(batch, horizon, action_space.size)
        plan[..., 0] = 0.1 * torch.arange(horizon, 0, -1)
        self.costs, self.warm = cost(plan[:, None]), warm_start
        return Plan(plan, self.costs[:, 0], self.costs)


def test_the_simulator_is_searched_in_order_and_executed_in_order():
    """The cost of a plan is the mean of the distances that executing it brings."""
    player = SimulatorPlayer(SearchConfig(solver={"kind": "random"}, horizon=6, replan_every=6))
    player.solver = Straight()
    trials = [Trial(0, LEFT, RIGHT), Trial(1, LEFT + [0.05, 0, 0, 0], RIGHT)]
    outcomes = play(player, make, trials, steps=6, parallel=2)
    walked = np.diff([outcome.distances for outcome in outcomes])
    assert -walked[0] == pytest.approx(0.05 * np.arange(0.6, 0, -0.1), abs=1e-5)
    for cost, outcome in zip(player.solver.costs[:, 0].tolist(), outcomes, strict=True):
        assert cost == pytest.approx(np.mean(outcome.distances[1:]), abs=1e-5)
    play(player, make, trials, steps=7, parallel=2)
    left = player._plan[:, -1:].expand(-1, 6, -1)  # everything was executed: the last step again
    torch.testing.assert_close(player.solver.warm, left)


class Compass(TwoRoom):
    """Two-Room where a step is one of five choices: to stay, or along an axis."""

    MOVES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)

    def __init__(self) -> None:
        super().__init__(ENV)
        self.action_space = Discrete(5)

    def advance(self, action) -> None:
        super().advance(self.MOVES[action])

    def copy_step(self, states, actions):
        assert np.issubdtype(np.asarray(actions).dtype, np.integer)
        return super().copy_step(states, self.MOVES[actions])

    def copy(self):
        return type(self)()


class Choices:
    """A world model of five choices that knows nothing."""

    frame_skip, history, action_size, proprio_size = 1, 1, 5, 0

    def encode(self, frames):
        return frames.float().mean((2, 3))[:, :, None]  # (B, T, 1, 3)

    def rollout(self, z, actions, *, past_actions=None, proprio=None):
        return z[:, None, -1:].expand(-1, actions.shape[1], actions.shape[2], -1, -1)


@pytest.mark.parametrize("kind", ["random", "simulator", "cloning", "planning"])
def test_every_player_takes_discrete_actions(kind):
    space = Discrete(5)
    policy = GoalPolicy(3, torch.zeros(5), torch.ones(5))
    players = {
        "random": RandomPlayer,
        "simulator": lambda: SimulatorPlayer(
            SearchConfig(solver={"kind": "random", "samples": 200}, horizon=5, replan_every=2)
        ),
        "cloning": lambda: CloningPlayer(Choices(), policy, is_pooled=False),
        "planning": lambda: PlanningPlayer(
            MPC(Choices(), RandomShooting(samples=4), GoalDistance(), horizon=2, action_space=space)
        ),
    }
    outcomes = play(players[kind](), Compass, [Trial(0), Trial(1)], steps=25, parallel=2)
    assert all(len(outcome.distances) == 26 for outcome in outcomes)
    if kind == "simulator":  # plans of 5 steps of .05 come closer by hundreds
        assert all(outcome.distances[-1] < outcome.distances[0] - 0.2 for outcome in outcomes)


def test_a_cloning_player_looks_at_means_only_where_its_policy_does():
    class Tokens(Choices):
        def encode(self, frames):
            return torch.stack([frames.float().mean((2, 3)), -frames.float().mean((2, 3))], 2)  # (B, T, 2, 3)

    seen = []

    def policy(z, goal):
        seen.append((z, goal))
        return torch.zeros(len(z), 2)

    for is_pooled in (True, False):
        play(CloningPlayer(Tokens(), policy, is_pooled=is_pooled), make, [Trial(0)], steps=1, parallel=1)
    (pooled, _), (whole, goal) = seen
    assert pooled.shape == (1, 1, 3) and whole.shape == goal.shape == (1, 2, 3)
    assert not torch.equal(whole, goal) and (pooled == 0).all()


def test_films_show_the_agent_above_its_goal(tmp_path):
    outcomes = play(
        Script([1.0, 0.0]), make, [Trial(seed) for seed in range(3)], steps=3, parallel=2, films=3
    )
    films = [outcome.film for outcome in outcomes]
    assert [(f.shape, g.shape) for f, g in films] == [((4, 16, 16, 3), (16, 16, 3))] * 3
    goals = [g for _, g in films]
    assert all(np.array_equal(env_goal, goal) for env_goal, goal in zip(_goals(range(3)), goals, strict=True))
    pages = draw_films(films)
    assert pages.shape == (4, 16 + 4 + 16, 3 * 16 + 2 * 4, 3)
    assert np.array_equal(pages[2, :16, :16], films[0][0][2]) and np.array_equal(pages[2, 20:, :16], goals[0])
    gif = write_films(films, tmp_path, "script")
    assert gif.read_bytes().startswith(b"GIF8") and len(list(tmp_path.glob("script-*.mp4"))) == 3


def _goals(seeds):
    env = make()
    return [env.reset(seed=seed)[1]["goal"] for seed in seeds]


def test_no_film_is_kept_unasked():
    assert play(Script([0, 0]), make, [Trial(0)], steps=1, parallel=1)[0].film is None
