"""Where episodes of Two-Room start and end, when they succeed, and how the expert gets there."""

import numpy as np
import pytest

from jepa.config.envs import TwoRoomEnv
from jepa.envs import two_room_world as world
from jepa.envs.two_room import SUCCESS_RADIUS, TwoRoom, follow_shortest_way
from jepa.errors import DataError


def make(*, layout="standard", cross=True):
    return TwoRoom(TwoRoomEnv(kind="two-room", layout=layout, size=16), cross=cross)


def ends(env, count=300):
    infos = [env.reset(seed=seed)[1] for seed in range(count)]
    return np.stack([info["state"] for info in infos]), np.stack([info["goal_state"] for info in infos])


@pytest.mark.parametrize("layout", ["standard", "shifted"])
def test_goals_are_behind_the_door(layout):
    states, goals = ends(make(layout=layout))
    assert world.is_free(states).all() and world.is_free(goals).all()
    assert ((states[:, 0] - states[:, 2]) * (goals[:, 0] - states[:, 2]) < 0).all()
    np.testing.assert_array_equal(states[:, 2:], goals[:, 2:])
    assert 0.4 < (states[:, 0] < states[:, 2]).mean() < 0.6


def test_goals_may_be_anywhere():
    states, goals = ends(make(cross=False))
    crosses = (states[:, 0] - 0.5) * (goals[:, 0] - 0.5) < 0
    assert 0.4 < crosses.mean() < 0.6


def test_starts_fill_both_rooms_evenly():
    generator = np.random.default_rng(0)
    x, y, wall, door = np.stack([make(layout="shifted").sample_state(generator) for _ in range(1000)]).T
    for low, high, values in ((*world.SHIFTED[0], wall), (*world.SHIFTED[1], door)):
        counts = np.histogram(values, bins=5, range=(low, high))[0]
        assert counts.sum() == 1000 and counts.min() > 150
    is_left = x < wall
    width = wall - world.ACROSS - world.RADIUS
    assert np.corrcoef(is_left, width)[0, 1] > 0.15  # a larger room has more of the starts
    assert np.histogram(y, bins=5, range=(0, 1))[0].min() > 130
    assert np.abs((x[is_left] - world.RADIUS) / width[is_left] - 0.5).mean() == pytest.approx(0.25, abs=0.03)


def test_the_standard_layout_is_the_standard():
    states, _ = ends(make(), 5)
    assert (states[:, 2:] == world.STANDARD).all()


def test_success_is_one_step_from_the_goal_in_the_same_layout():
    env = make()
    goal = np.array([0.3, 0.3, 0.5, 0.5])
    assert env.is_success(goal + [SUCCESS_RADIUS - 1e-9, 0, 0, 0], goal)
    assert not env.is_success(goal + [SUCCESS_RADIUS + 1e-9, 0, 0, 0], goal)
    assert not env.is_success(goal + [0.04, 0.04, 0, 0], goal)
    assert not env.is_success(goal + [0, 0, 0.01, 0], goal)


def test_states_in_walls_and_goals_in_another_layout_are_refused():
    env = make()
    with pytest.raises(
        DataError, match=r"\(0.5, 0.6, 0.5, 0.5\) puts the disc into a wall.*keep the centre 0.035"
    ):
        env.set_state([0.5, 0.6, 0.5, 0.5])
    start, goal = [0.2, 0.2, 0.5, 0.5], [0.8, 0.2, 0.5, 0.6]
    with pytest.raises(
        DataError, match=r"different layouts, .* = \(0.5, 0.5\) and \(0.5, 0.6\); give both the same"
    ):
        env.reset(options={"state": start, "goal_state": goal})


@pytest.mark.parametrize("layout", ["standard", "shifted"])
def test_the_expert_takes_the_shortest_way(layout):
    env = make(layout=layout)
    for seed in range(30):
        observation, info = env.reset(seed=seed)
        expected, walked = info["distance"], 0.0
        for _ in range(60):
            if info["distance"] < 1e-3:
                break
            before = info["state"]
            observation, _, _, _, info = env.step(follow_shortest_way(observation, info))
            walked += np.linalg.norm(info["state"][:2] - before[:2])
        assert info["distance"] < 1e-3
        assert expected - 2e-3 <= walked <= expected + 0.04  # it keeps a little inside the corners
