"""The two-link arm is the suite's, with the arm itself as the goal."""

import numpy as np
import pytest

from jepa.config.envs import ReacherEnv
from jepa.envs.reacher import TOLERANCE, WRIST_LIMIT, Reacher
from jepa.envs.rendering import choose_graphics
from jepa.errors import DataError
from tests.envs import contract


@pytest.fixture(scope="module")
def env():
    choose_graphics()
    pytest.importorskip("dm_control")
    env = Reacher(ReacherEnv(kind="reacher"))
    yield env
    env.close()


@pytest.mark.parametrize("module", ["mujoco", "dm_control.suite.reacher"])
def test_a_missing_package_is_named(monkeypatch, module):
    contract.check_missing(monkeypatch, lambda: Reacher(ReacherEnv(kind="reacher")), module, "reacher")


@pytest.mark.filterwarnings("ignore:.*infinity")  # velocities have no bound
@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(env, check):
    check(env)


def test_it_moves_as_the_suite_has_it(env):
    from dm_control import suite

    theirs = suite.load("reacher", "easy")
    assert theirs.control_timestep() == 1 / env.metadata["render_fps"]
    theirs.reset()
    env.reset(seed=0)
    start = np.array([0.3, WRIST_LIMIT - 0.05, 2.0, 3.0])  # towards the wrist's stop
    env.set_state(start)
    with theirs.physics.reset_context():
        theirs.physics.data.qpos[:], theirs.physics.data.qvel[:] = start[:2], start[2:]
    generator = np.random.default_rng(0)
    for _ in range(100):
        action = generator.uniform(-1, 1, 2).astype(np.float32)
        theirs.step(action)
        env.step(action)
        data = theirs.physics.data
        np.testing.assert_allclose(env.state, np.concatenate([data.qpos, data.qvel]), atol=1e-8)


def test_success_is_both_angles_up_to_full_turns_of_the_shoulder(env):
    goal = np.array([3.1, -1.0, 0, 0])
    near = TOLERANCE - 1e-6
    assert env.is_success(goal + [near, -near, 5, 5], goal)
    assert env.is_success(goal - [2 * np.pi - near, 0, 0, 0], goal)
    assert not env.is_success(goal + [TOLERANCE + 1e-6, 0, 0, 0], goal)
    assert not env.is_success(goal + [0, TOLERANCE + 1e-6, 0, 0], goal)
    assert env.distance([3.1, 0, 0, 0], [-3.1, 0.3, 0, 0]) == pytest.approx(np.hypot(2 * np.pi - 6.2, 0.3))
    np.testing.assert_array_equal(env.draw(goal), env.draw(goal + [0, 0, 7, -7]))


def test_a_wrist_bent_too_far_is_refused(env):
    with pytest.raises(DataError, match="wrist angle 3.2 is more than half a turn"):
        env.set_state([0, 3.2, 0, 0])


def test_the_target_of_the_suite_is_not_in_the_picture(env):
    """Away from the arm, the picture is the same for all arms: nothing else is drawn."""
    left, right = env.draw([np.pi, 0, 0, 0]), env.draw([0, 0, 0, 0])
    middle = slice(24, 40)
    np.testing.assert_array_equal(np.delete(left, middle, axis=0), np.delete(right, middle, axis=0))
    np.testing.assert_array_equal(left[middle, 40:], env.draw([np.pi / 2, 0, 0, 0])[middle, 40:])
    # The suite's ball would cover the blue floor around the arm's root.
    beside = left[26:30, 34:37].astype(int)
    assert (beside[..., 2] > beside[..., 0] + 20).all()


def test_a_small_turn_can_be_seen(env):
    state = np.array([0.7, 0.4, 0, 0])
    assert not np.array_equal(env.draw(state), env.draw(state + [0.02, 0, 0, 0]))


def test_goals_reach_all_around(env):
    generator = np.random.default_rng(0)
    states = np.array([env.sample_state(generator) for _ in range(2000)])
    assert np.abs(states[:, 0]).max() > 3.1 and abs(states[:, 0].mean()) < 0.15
    assert 2.75 < np.abs(states[:, 1]).max() <= WRIST_LIMIT
    assert not states[:, 2:].any()


def test_the_expert_arrives_and_stays(env):
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        act = env.expert()
        for _ in range(150):
            env.advance(act(observation, info))
            info = {"state": env.state, "goal_state": env.goal_state}
        assert env.is_success(info["state"], info["goal_state"])
