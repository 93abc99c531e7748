"""Meta-World's tasks, with states that are set exactly and goals that the scripted policy reaches."""

import numpy as np
import pytest

from jepa.config.envs import MetaWorldEnv
from jepa.envs.metaworld import CLOSE_UP, MetaWorld
from jepa.envs.rendering import choose_graphics
from jepa.errors import DataError, RunError
from tests.envs import contract


def make(task="reach-v3", **changes):
    return MetaWorld(MetaWorldEnv(kind="metaworld", task=task, **changes))


@pytest.fixture(scope="module")
def env():
    choose_graphics()
    pytest.importorskip("metaworld")
    env = make()
    yield env
    env.close()


@pytest.mark.parametrize("module", ["mujoco", "metaworld.env_dict"])
def test_a_missing_package_is_named(monkeypatch, module):
    contract.check_missing(monkeypatch, make, module, "metaworld")


@pytest.mark.filterwarnings("ignore:.*infinity")  # the package gives the hand no bound
@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(env, check):
    check(env)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["push-v3", "door-open-v3"])
def test_contract_with_objects_and_layouts(env, task):
    other = make(task)
    contract.check_exact_state(other)
    contract.check_seeds(other)
    # Between episodes of other layouts, a state is still the same picture and has the same future.
    picture, state = other.render(), other.state
    action = np.array([1, -1, 0.5, 1], np.float32)
    after = other.copy_step(state[None], action[None])[0]
    other.reset(seed=77)
    assert not np.array_equal(other.render(), picture)
    other.set_state(state)
    np.testing.assert_array_equal(other.render(), picture)
    other.advance(action)
    np.testing.assert_array_equal(other.state, after)
    other.close()


@pytest.mark.filterwarnings("ignore:Constant")  # the policy's large actions, which are clipped
def test_it_moves_and_succeeds_as_the_package_has_it(env):
    """Beside the package's own environment under its own policy, from the same layout."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    from metaworld.policies import ENV_POLICY_MAP

    theirs = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE["reach-v3-goal-observable"](seed=0)
    _, info = env.reset(seed=4)
    theirs._last_rand_vec = info["state"][:6].copy()
    seen, _ = theirs.reset()
    policy = ENV_POLICY_MAP["reach-v3"]()
    flags = []
    for step in range(80):
        action = np.clip(policy.get_action(seen), -1, 1).astype(np.float32)
        action[3] = np.sin(step / 9)  # reaching does not need the gripper
        seen, _, _, _, their_info = theirs.step(action)
        observation, _, _, _, info = env.step(action)
        np.testing.assert_allclose(observation["proprio"], seen[:4], atol=1e-4)
        assert info["success"] == bool(their_info["success"])
        flags.append(info["success"])
    assert not flags[0] and flags[-1]
    theirs.close()


def test_the_goal_is_where_the_policy_first_succeeds(env):
    observation, info = env.reset(seed=8)
    goal = info["goal_state"]
    np.testing.assert_array_equal(goal[:6], info["state"][:6])
    act = env.expert()
    for _ in range(env.max_episode_steps):
        observation, _, _, _, info = env.step(act(observation, info))
        if info["success"]:
            break
    np.testing.assert_array_equal(env.state, goal)
    assert info["distance"] == 0


def test_a_start_that_was_given_has_a_goal_of_its_layout(env):
    start = env.reset(seed=9)[1]["state"]
    goal = env.reset(seed=9)[1]["goal_state"]
    env.reset(seed=10)
    _, info = env.reset(seed=11, options={"state": start})
    np.testing.assert_array_equal(info["goal_state"], goal)
    other = env.reset(seed=12)[1]["goal_state"]
    assert env.is_success(goal, goal) and not env.is_success(goal, other)


def test_the_target_is_not_in_the_picture(env):
    """Where the arm is, is all that a picture of this task shows: layouts with other targets look alike."""
    first, second = (env.reset(seed=seed)[1]["state"] for seed in (1, 2))
    table = env._scratch
    table.set_state(first)
    one = env._camera.draw(table.data)
    table.model.site("goal").pos[:] = second[3:6]
    np.testing.assert_array_equal(env._camera.draw(table.data), one)


def test_distance_is_of_hand_and_objects(env):
    env.reset(seed=0)
    state = env.state
    moved = state.copy()
    moved[6 + 9] += 0.03  # x of the object, after six numbers of layout and nine of the arm
    assert env.distance(state, moved) == pytest.approx(0.03)
    after = env.copy_step(state[None], np.array([[1, 0, 0, 0]], np.float32))[0]
    hand = env.proprio(after)[:3] - env.proprio(state)[:3]
    assert env.distance(state, after) >= np.linalg.norm(hand) - 1e-6 and hand[0] > 0


@pytest.mark.slow
def test_cameras_are_upright_and_the_close_up_is_closer(env):
    """The arm's red base and links: with the package's own upside-down camera they would hang from the top."""
    pictures = {}
    for camera in ("corner2", CLOSE_UP, "topview"):
        other = make("button-press-topdown-v3", camera=camera)
        pictures[camera] = other.reset(seed=0)[0]["pixels"].astype(int)
        other.close()
    wood = {name: (p[..., 0] - p[..., 2] > 25) & (p[..., 0] < 160) for name, p in pictures.items()}
    red = {name: (p[..., 0] - p[..., 1] > 60) & (p[..., 1] < 60) for name, p in pictures.items()}
    rows = {name: np.nonzero(mask)[0].mean() for name, mask in red.items()}
    assert rows["corner2"] < np.nonzero(wood["corner2"])[0].mean()  # the arm is above the table
    assert red[CLOSE_UP].sum() > 2 * red["corner2"].sum()
    assert not np.array_equal(pictures["topview"], pictures["corner2"])


def test_wrong_names_and_layouts_are_refused(env):
    with pytest.raises(DataError, match="no task 'reach-v2'; it has .*reach-v3"):
        make("reach-v2")
    with pytest.raises(DataError, match="camera 'corner9' is unknown; this model has topview, corner"):
        make(camera="corner9")
    env.reset(seed=0)
    state = env.state
    state[0] = 5
    with pytest.raises(DataError, match="is none of this task; its numbers lie from"):
        env.set_state(state)
    state[:6] = [
        0.1,
        0.7,
        0.02,
        0.1,
        0.8,
        0.2,
    ]  # the object too near to the target: the task would draw for ever
    with pytest.raises(DataError, match="is refused by this task"):
        env.set_state(state)
    env.reset(seed=0)


def test_a_policy_that_fails_is_said(env, monkeypatch):
    class Idle:
        def get_action(self, observation):
            return np.zeros(4)

    monkeypatch.setitem(env._policies, "reach-v3", Idle)
    monkeypatch.setattr("jepa.envs.metaworld.MAX_STEPS", 3)
    with pytest.raises(RunError, match="scripted policy of reach-v3 failed in 20 layouts"):
        env.reset(seed=123)
    start = env.state
    env._solved = None
    with pytest.raises(RunError, match="did not solve it in 3 steps from this start"):
        env.reset(options={"state": start})
