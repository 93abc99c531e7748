"""Every environment of ours is an ordinary gymnasium environment with exact states and hidden goals."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from jepa.config.envs import PushTEnv, TwoRoomEnv
from jepa.envs.base import check_action
from jepa.envs.registry import IDS, make_env, register
from jepa.errors import DataError, RunError

CONFIGS = {
    "two-room": TwoRoomEnv(kind="two-room", size=32),
    "shifted": TwoRoomEnv(kind="two-room", size=32, layout="shifted"),
    "pusht": PushTEnv(kind="pusht", size=32),
}


@pytest.fixture(params=CONFIGS)
def env(request):
    if request.param == "pusht":
        pytest.importorskip("pymunk")
    return make_env(CONFIGS[request.param])


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_nothing_wrong(name):
    if "PushT" in name:
        pytest.importorskip("pymunk")
    register()
    register()
    check_env(gymnasium.make(name, size=32).unwrapped)


def test_info_says_what_was_promised(env):
    observation, info = env.reset(seed=0)
    assert set(info) == {"state", "goal_state", "goal", "distance", "success"}
    assert info["state"].dtype == info["goal_state"].dtype == np.float64
    np.testing.assert_array_equal(info["goal"], env.draw(info["goal_state"]))
    np.testing.assert_array_equal(observation["pixels"], env.draw(info["state"]))
    np.testing.assert_array_equal(env.render(), observation["pixels"])
    _, reward, terminated, _, info = env.step(env.action_space.sample())
    assert set(info) == {"state", "goal_state", "distance", "success"}
    assert reward == -info["distance"] == -env.distance(info["state"], info["goal_state"])
    assert info["success"] is env.is_success(info["state"], info["goal_state"])
    assert terminated is False


def test_an_episode_ends_after_its_steps_and_not_before(env):
    env.max_episode_steps = 3
    env.reset(seed=0)
    action = np.zeros(2, np.float32)
    assert [env.step(action)[3] for _ in range(3)] == [False, False, True]
    env.reset()
    assert not env.step(action)[3]


def test_a_goal_that_is_reached_is_a_success_at_distance_0(env):
    state = env.sample_state(np.random.default_rng(0))
    _, info = env.reset(options={"state": state, "goal_state": state})
    assert info["success"] and info["distance"] == 0


def test_states_are_set_exactly(env):
    generator = np.random.default_rng(1)
    env.reset(seed=0)
    for _ in range(20):
        state = env.sample_state(generator)
        env.set_state(state)
        np.testing.assert_array_equal(env.state, state)
        env.advance(env.action_space.sample())
        assert not np.array_equal(env.state, state)


def test_the_future_follows_from_the_state_alone(env):
    generator = np.random.default_rng(2)
    actions = generator.uniform(-1, 1, (30, 2)).astype(np.float32)
    env.reset(seed=5)
    trace = [env.state]
    for action in actions:
        env.advance(action)
        trace.append(env.state)
    other = env.copy()
    for k in (25, 3, 17):  # from the middle, in another order, in another environment
        other.set_state(trace[k])
        for action in actions[k:]:
            other.advance(action)
        np.testing.assert_array_equal(other.state, trace[-1])


def test_a_copy_steps_as_the_environment_does_and_leaves_it_alone(env):
    generator = np.random.default_rng(3)
    _, info = env.reset(seed=0)
    states = np.stack([env.sample_state(generator) for _ in range(8)])
    actions = generator.uniform(-1, 1, (8, 2)).astype(np.float32)
    after = env.copy_step(states, actions)
    np.testing.assert_array_equal(env.state, info["state"])
    for state, action, expected in zip(states, actions, after, strict=True):
        env.set_state(state)
        env.step(action)
        np.testing.assert_array_equal(env.state, expected)
    with pytest.raises(RunError, match="out of bounds"):
        env.copy_step(states, actions * 9)
    env.close()
    env.close()


def test_distances_are_the_distance_of_each(env):
    generator = np.random.default_rng(4)
    states = np.stack([env.sample_state(generator) for _ in range(9)])
    goals = np.stack([env.sample_state(generator, state) for state in states])
    each = [env.distance(state, goal) for state, goal in zip(states, goals, strict=True)]
    np.testing.assert_allclose(env.distances(states, goals), each, rtol=1e-12)


def test_the_goal_is_not_in_the_picture_and_drawing_changes_nothing(env):
    generator = np.random.default_rng(6)
    state = env.sample_state(generator)
    goals = [env.sample_state(generator, state) for _ in range(2)]
    first, second = (env.reset(options={"state": state, "goal_state": goal}) for goal in goals)
    np.testing.assert_array_equal(first[0]["pixels"], second[0]["pixels"])
    assert (first[1]["goal"] != second[1]["goal"]).any()
    np.testing.assert_array_equal(env.state, state)


def test_one_end_may_be_given_and_the_seed_draws_the_other(env):
    state = env.sample_state(np.random.default_rng(7))
    for name, other in (("state", "goal_state"), ("goal_state", "state")):
        drawn = [env.reset(seed=seed, options={name: state})[1] for seed in (1, 1, 2)]
        for info in drawn:
            np.testing.assert_array_equal(info[name], state)
        np.testing.assert_array_equal(drawn[0][other], drawn[1][other])
        assert (drawn[0][other] != drawn[2][other]).any()


def test_what_info_holds_is_a_copy(env):
    _, info = env.reset(seed=0)
    for name, present in (("state", lambda: env.state), ("goal_state", lambda: env.goal_state)):
        before = present()
        info[name][:] = 0
        np.testing.assert_array_equal(present(), before)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            np.float32([1.01, 0]),
            r"\[1.00999.*, 0.0\] is out of bounds; .* from \[-1.0, -1.0\] to \[1.0, 1.0\]",
        ),
        (np.float32([0, np.nan]), "is not finite"),
        (np.zeros(3, np.float32), r"shape \(3,\) does not fit; this environment takes \(2,\)"),
    ],
)
def test_bad_actions_are_refused_and_move_nothing(env, action, message):
    _, info = env.reset(seed=0)
    with pytest.raises(RunError, match=message):
        env.step(action)
    np.testing.assert_array_equal(env.state, info["state"])


@pytest.mark.parametrize("action", [5, -1, 1.0, np.float32(0.5)])
def test_bad_discrete_actions_are_refused(action):
    with pytest.raises(RunError, match="give a whole number from 0 to 4"):
        check_action(action, spaces.Discrete(5))
    assert check_action(4, spaces.Discrete(5)) == 4
    assert check_action(np.int32(7), spaces.Discrete(2, start=6)) == 7


def test_an_action_on_the_bound_is_allowed_in_any_precision():
    space = spaces.Box(np.float32(-0.1), np.float32(0.1), (2,))
    np.testing.assert_array_equal(check_action([-0.1, 0.1], space), [space.low[0], space.high[0]])


def test_bad_states_are_refused(env):
    size = env.state_size
    with pytest.raises(DataError, match=rf"shape \(3,\) does not fit .*; give {size} numbers"):
        env.set_state(np.zeros(3))
    with pytest.raises(DataError, match="is not finite"):
        env.reset(options={"goal_state": np.full(size, np.nan)})
    with pytest.raises(DataError, match="option 'start' is unknown; allowed are state, goal_state"):
        env.reset(options={"start": np.zeros(size)})


def test_order_is_kept(env):
    with pytest.raises(RunError, match=r"call reset\(\) before step\(\)"):
        env.step(env.action_space.sample())
    with pytest.raises(RunError, match=r"no goal yet; call reset\(\) first"):
        _ = env.goal_state
