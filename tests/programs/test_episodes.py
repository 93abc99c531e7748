"""Episodes: the same trials for everybody, a fixed budget, and no one looks where they may not."""

import numpy as np
import pytest

from jepa.config.envs import TwoRoomEnv
from jepa.config.planning import SearchConfig
from jepa.envs.two_room import TwoRoom
from jepa.programs.episodes import Trial, play
from jepa.programs.films import draw_films, write_films
from jepa.programs.players import RandomPlayer, SimulatorPlayer

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
