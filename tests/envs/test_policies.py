"""The random walker covers its world; experts reach their goals."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from jepa.config.envs import PushTEnv, TwoRoomEnv
from jepa.envs import two_room_world as world
from jepa.envs.policies import RandomWalk, expert_policy, random_policy
from jepa.envs.registry import make_env
from jepa.errors import RunError


@pytest.fixture
def rooms():
    return make_env(TwoRoomEnv(kind="two-room", size=16))


def draw(policy, count, seed=0):
    policy.reset(seed)
    return np.stack([policy({}, {}) for _ in range(count)])


def test_the_walker_passes_the_door_in_three_of_ten_episodes_and_sees_every_corner(rooms):
    policy, crossed, visits = random_policy(rooms), 0, 0
    for episode in range(120):
        state = rooms.sample_state(np.random.default_rng(episode))
        trace = [state]
        for action in draw(policy, 100, episode):
            trace.append(world.move(trace[-1], action))
        x, y = np.stack(trace)[:, :2].T
        crossed += ((x < 0.5) != (x[0] < 0.5)).any()
        visits = visits + np.histogram2d(x, y, bins=5, range=((0, 1), (0, 1)))[0]
    assert crossed >= 0.28 * 120
    assert visits.min() > 0.005 * visits.sum()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (1,)),
        spaces.Box(-1, 1, (4,)),
        spaces.Box(np.float32([0, -3]), np.float32([0.1, 512])),
    ],
)
def test_walks_fill_the_bounds_and_keep_them(space):
    actions = draw(RandomWalk(space), 3000)
    assert actions.dtype == space.dtype and all(space.contains(action) for action in actions)
    share = (actions - space.low) / (space.high - space.low) * 2 - 1
    np.testing.assert_allclose(share.mean(axis=0), 0, atol=0.12)
    assert (0.5 < share.std(axis=0)).all() and (share.std(axis=0) < 0.85).all()
    lagged = (share[1:] * share[:-1]).mean(axis=0) / (share**2).mean(axis=0)
    assert (lagged > 0.7).all()  # a direction lasts


def test_discrete_actions_are_held_and_all_are_used():
    space = spaces.Discrete(3, start=5)
    actions = draw(RandomWalk(space), 600)
    assert all(space.contains(action) for action in actions)
    assert (np.bincount(actions - 5) > 120).all()
    assert 0.75 < (actions[1:] == actions[:-1]).mean() < 0.92


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2,)), spaces.Discrete(4)])
def test_the_seed_is_all(space):
    policy = RandomWalk(space)
    first, second, other = draw(policy, 50, 1), draw(policy, 50, 1), draw(policy, 50, 2)
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_actions_of_other_kinds_are_refused():
    with pytest.raises(RunError, match="only Box and Discrete"):
        RandomWalk(spaces.MultiBinary(3))
    with pytest.raises(RunError, match="actions without bounds"):
        RandomWalk(spaces.Box(-np.inf, np.inf, (2,)))


def play(env, policy, seed):
    """Whether each state of an episode was a success, and its actions."""
    observation, info = env.reset(seed=seed)
    policy.reset(seed)
    actions, successes = [], []
    for _ in range(60):
        actions.append(policy(observation, info))
        observation, _, _, _, info = env.step(actions[-1])
        successes.append(info["success"])
    return np.array(successes), np.stack(actions)


def test_the_expert_passes_the_door_with_and_without_noise(rooms):
    exact, noisy = expert_policy(rooms), expert_policy(rooms, noise=0.5)
    for seed in range(12):
        successes, actions = play(rooms, exact, seed)
        assert successes[-20:].all()  # it stays
        assert np.abs(actions[-20:]).max() < 0.01
        successes, actions = play(rooms, noisy, seed)
        assert successes.any()
        assert np.abs(actions).max() == 1 and 0.2 < actions[-20:].std() < 0.9
    np.testing.assert_array_equal(play(rooms, noisy, 3)[1], play(rooms, noisy, 3)[1])


def test_the_expert_of_a_wrapped_environment_is_found(rooms):
    wrapped = gymnasium.wrappers.TimeLimit(rooms, 10)
    assert expert_policy(wrapped).env is rooms


def test_who_has_no_expert_says_who_has():
    pytest.importorskip("pymunk")
    with pytest.raises(RunError, match="PushT has no expert; those with one are two-room"):
        expert_policy(make_env(PushTEnv(kind="pusht")))
    with pytest.raises(RunError, match="PendulumEnv has no expert"):
        expert_policy(gymnasium.make("Pendulum-v1"))
