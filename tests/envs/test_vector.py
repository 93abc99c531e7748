"""Environments side by side are the environments one by one."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from jepa.config.envs import PushTEnv, TwoRoomEnv
from jepa.envs.registry import make_env, make_vector_env
from jepa.envs.two_room_vector import TwoRoomVector
from jepa.envs.vector import GoalVector
from jepa.errors import DataError, RunError

COUNT = 5
CONFIGS = {
    "two-room": TwoRoomEnv(kind="two-room", size=16),
    "shifted": TwoRoomEnv(kind="two-room", size=16, layout="shifted"),
    "pusht": PushTEnv(kind="pusht", size=16),
    "loop": TwoRoomEnv(kind="two-room", size=16),
}


@pytest.fixture(params=CONFIGS)
def config(request):
    if request.param == "pusht":
        pytest.importorskip("pymunk")
    return CONFIGS[request.param]


@pytest.fixture
def vector(request, config):
    if "[loop]" in request.node.name:  # the general way, of the environment that has a faster one
        return GoalVector([lambda: make_env(config)] * COUNT)
    return make_vector_env(config, COUNT)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert np.asarray(found[name]).dtype == np.asarray(value).dtype, name


def test_it_is_what_gymnasium_makes_of_single_environments(config, vector):
    sync = SyncVectorEnv([lambda: make_env(config)] * COUNT, autoreset_mode=AutoresetMode.DISABLED)
    assert vector.observation_space == sync.observation_space
    assert vector.action_space == sync.action_space
    assert vector.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    for seed in (7, None, [5, 4, 3, 2, 1]):
        for found, expected in zip(vector.reset(seed=seed), sync.reset(seed=seed), strict=True):
            assert_same(found, expected)
        sync.action_space.seed(0)
        for _ in range(12):
            actions = sync.action_space.sample()
            found, expected = vector.step(actions), sync.step(actions)
            assert_same(found[0], expected[0])
            assert_same(found[4], expected[4])
            for one, other in zip(found[1:4], expected[1:4], strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype
    for one, other in zip(vector.render(), sync.render(), strict=True):
        np.testing.assert_array_equal(one, other)
    vector.close()


def test_each_has_its_own_start_and_goal(config, vector):
    _, drawn = vector.reset(seed=3)
    ends = {"state": drawn["state"][::-1].copy(), "goal_state": drawn["goal_state"][::-1].copy()}
    _, info = vector.reset(options=ends)
    np.testing.assert_array_equal(info["state"], ends["state"])
    np.testing.assert_array_equal(info["goal_state"], ends["goal_state"])
    np.testing.assert_array_equal(info["goal"], drawn["goal"][::-1])


def test_some_may_start_again(config, vector):
    vector.reset(seed=0)
    vector.step(np.ones((COUNT, 2), np.float32) / 2)
    before, _, _, _, step_info = vector.step(np.ones((COUNT, 2), np.float32) / 2)
    mask = np.array([False, True, False, False, True])
    observation, info = vector.reset(seed=50, options={"reset_mask": mask})
    for name in ("state", "goal_state", "goal", "distance", "success"):
        np.testing.assert_array_equal(info[f"_{name}"], mask)
        assert not info[name][~mask].any()
    _, alone = make_env(config).reset(seed=51)
    np.testing.assert_array_equal(info["state"][1], alone["state"])
    np.testing.assert_array_equal(observation["pixels"][~mask], before["pixels"][~mask])
    after = vector.step(np.zeros((COUNT, 2), np.float32))[4]
    np.testing.assert_array_equal(after["goal_state"][~mask], step_info["goal_state"][~mask])


def test_episodes_end_each_after_its_own_steps(config):
    vector = make_vector_env(config, COUNT, steps=3)
    vector.reset(seed=0)
    actions = np.zeros((COUNT, 2), np.float32)
    assert not vector.step(actions)[3].any()
    vector.reset(options={"reset_mask": np.array([True, False, False, False, False])})
    assert not vector.step(actions)[3].any()
    assert vector.step(actions)[3].tolist() == [False, True, True, True, True]


def test_what_does_not_fit_is_refused(config, vector):
    with pytest.raises(RunError, match=r"call reset\(\) before step\(\)"):
        vector.step(np.zeros((COUNT, 2), np.float32))
    with pytest.raises(DataError, match="3 seeds do not fit 5 environments"):
        vector.reset(seed=[1, 2, 3])
    with pytest.raises(DataError, match=r"'state' of shape \(4,\) does not fit; give one row for each of 5"):
        vector.reset(options={"state": np.zeros(4)})
    with pytest.raises(DataError, match="option 'goal' is unknown"):
        vector.reset(options={"goal": np.zeros((COUNT, 4))})
    vector.reset()
    with pytest.raises(RunError, match="out of bounds"):
        vector.step(np.full((COUNT, 2), 2, np.float32))


def test_two_rooms_are_one_array(config):
    vector = make_vector_env(config, 2)
    assert isinstance(vector, TwoRoomVector) == (config.kind == "two-room")
    with pytest.raises(RunError, match="0 environments were asked for; ask for at least 1"):
        make_vector_env(config, 0)
