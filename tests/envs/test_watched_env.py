"""Registered environments whose state cannot be set are recorded as they are."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from jepa.config.envs import GymEnv, TwoRoomEnv
from jepa.envs.gymnasium_env import RegisteredEnv
from jepa.envs.policies import expert_policy
from jepa.envs.registry import make_env, make_pixel_env, make_vector_env
from jepa.envs.two_room import TwoRoom
from jepa.envs.watched_env import WatchedEnv, is_picture, proprio_space
from jepa.errors import DataError, RunError
from tests.envs import contract


class Walk(gymnasium.Env):
    """A walk on a ring of 20 places with a step of luck; it ends at place 0. What it hides is in ``_place``."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    observation_space = spaces.Box(-1, 1, (2,), np.float64)
    built = 0

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(3, start=-1)
        type(self).built += 1
        self._memory = 0  # what a reset forgets to clear

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place = int(self.np_random.integers(5, 15))
        return self._observation(), {"goal": "hidden"}

    def step(self, action):
        self._memory += 1
        luck = self.np_random.integers(-1, 2) + (self._memory > 12)
        self._place = (self._place + int(action) + int(luck)) % 20
        return self._observation(), 2.0 * self._place, self._place == 0, False, {"success": True}

    def _observation(self):
        return np.array([np.sin(self._place), np.cos(self._place)])

    def render(self):
        picture = np.zeros((30, 60, 3), np.uint8)
        picture[:, 3 * self._place : 3 * self._place + 3] = 200
        return picture


class Screen(Walk):
    """The same, whose observation is a picture already, and which cannot draw."""

    metadata = {"render_modes": [], "render_fps": 5}
    observation_space = spaces.Box(0, 255, (30, 60, 3), np.uint8)

    def __init__(self):
        super().__init__()

    def _observation(self):
        return Walk.render(self)

    def render(self):
        raise AssertionError("drew a second picture")


class Simulated(Walk):
    """The same as a MuJoCo environment with a body that somebody else moves: its state can be read only."""

    mujoco_renderer = None
    model = SimpleNamespace(na=0, nmocap=1)

    def set_state(self, positions, velocities): ...

    @property
    def data(self):
        return SimpleNamespace(qpos=np.array([self._place, 1.0]), qvel=np.array([0.5]))


class Continuous(Walk):
    """The same with actions in a Box."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def step(self, action):
        return super().step(np.round(action[0]))


class Blind(Walk):
    """The same without pictures."""

    metadata = {"render_modes": ["ansi"]}

    def __init__(self):
        super().__init__()


class Unpainted(Walk):
    """The same on a machine that lacks a package for drawing."""

    def render(self):
        raise gymnasium.error.DependencyNotInstalled("paint is not installed")


class Depth(Walk):
    """The same, whose drawing is no picture."""

    def render(self):
        return np.zeros((30, 60), np.float32)


class Several(Walk):
    """The same with two actions at once."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.action_space = spaces.MultiDiscrete([2, 3])


class Doubled(gymnasium.RewardWrapper, gymnasium.utils.RecordConstructorArgs):
    """A wrapper that an environment is registered with."""

    def __init__(self, env):
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def reward(self, reward):
        return 2 * reward


KINDS = (Walk, Screen, Simulated, Continuous, Blind, Unpainted, Depth, Several)


@pytest.fixture(autouse=True)
def registered():
    names = {f"{kind.__name__}-v0": kind for kind in KINDS}
    for name, kind in names.items():
        gymnasium.register(name, entry_point=kind, max_episode_steps=9)
    gymnasium.register("Endless-v0", entry_point=Walk)
    spec = gymnasium.envs.registration.WrapperSpec("Doubled", f"{__name__}:Doubled", {})
    gymnasium.register("Wrapped-v0", entry_point=Walk, additional_wrappers=(spec,))
    yield
    for name in (*names, "Endless-v0", "Wrapped-v0"):
        del gymnasium.registry[name]


def make(name="Walk-v0", **changes):
    return WatchedEnv(GymEnv(kind="gymnasium", name=name, size=16), **changes)


def play(env, actions, seed=0):
    """Pixels, proprioception and rewards of an episode, up to its end."""
    observation, _ = env.reset(seed=seed)
    pixels, felt, rewards = [observation["pixels"]], [observation["proprio"]], []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        pixels.append(observation["pixels"])
        felt.append(observation["proprio"])
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.array(pixels), np.array(felt), np.array(rewards)


@pytest.mark.parametrize("name", ["Walk-v0", "Screen-v0", "Simulated-v0", "Continuous-v0"])
def test_gymnasium_finds_nothing_wrong(name):
    env = make(name)
    contract.check_gymnasium(env)
    env.close()


def test_an_episode_is_the_environments_own():
    """Against gymnasium alone: observation, drawing, reward, and the end where it ends."""
    env, own = make(), gymnasium.make("Walk-v0", render_mode="rgb_array")
    lengths = []
    for seed in range(12):
        actions = np.random.default_rng(seed).integers(-1, 2, 20)
        pixels, felt, rewards = play(env, actions, seed)
        observation, _ = own.reset(seed=seed)
        own.unwrapped._memory = 0
        for t, action in enumerate(actions):
            picture = Image.fromarray(own.render()).resize((16, 16), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(pixels[t], picture)
            np.testing.assert_array_equal(felt[t], observation.astype(np.float32))
            observation, reward, terminated, truncated, _ = own.step(action)
            assert rewards[t] == reward
            if terminated or truncated:
                break
        assert len(rewards) == t + 1 and len(pixels) == t + 2
        lengths.append(len(rewards))
    assert max(lengths) == 9 and min(lengths) < 9  # some are truncated, some reach their end


def test_an_episode_depends_on_its_seed_and_actions_alone():
    actions = np.ones(9, np.int64)
    alone = play(make(), actions, seed=3)
    env = make()
    play(env, actions, seed=1)
    play(env, actions, seed=2)
    for again, first in zip(play(env, actions, seed=3), alone, strict=True):
        np.testing.assert_array_equal(again, first)
    assert not np.array_equal(play(env, actions, seed=4)[0][0], alone[0][0])
    env.reset(seed=5)
    unseeded = [env.reset()[0]["proprio"].tolist() for _ in range(4)]
    env.reset(seed=5)
    assert [env.reset()[0]["proprio"].tolist() for _ in range(4)] == unseeded
    assert len(set(map(tuple, unseeded))) > 1


def test_an_observation_that_is_a_picture_is_the_picture():
    observation, _ = make("Screen-v0").reset(seed=0)
    np.testing.assert_array_equal(observation["pixels"], make().reset(seed=0)[0]["pixels"])
    assert list(observation) == ["pixels"]


def test_a_state_that_can_be_read_is_told_and_no_goal_ever_is():
    env = make()
    assert env.reset(seed=0)[1] == env.step(0)[4] == {}
    env = make("Simulated-v0")
    for observation, info in (env.reset(seed=0), env.step(1)[::4]):
        assert list(info) == ["state"] and info["state"].dtype == np.float64
        place = info["state"][0]
        np.testing.assert_array_equal(info["state"], [place, 1.0, 0.5])
        np.testing.assert_allclose(observation["proprio"], [np.sin(place), np.cos(place)], rtol=1e-6)


def test_the_limit_is_the_registered_one_or_what_is_asked():
    assert make().max_episode_steps == 9
    assert make("Endless-v0").max_episode_steps == 1000
    stay = np.zeros(40, np.int64)
    assert len(play(make(steps=4), stay)[2]) == 4
    lengths = [len(play(make("Walk-v0", steps=14), stay, seed)[2]) for seed in range(8)]
    assert max(lengths) == 14  # past what it was registered with


def test_wrappers_stay_that_it_was_registered_with():
    wrapped, plain = (play(make(name), np.zeros(5, np.int64))[2] for name in ("Wrapped-v0", "Endless-v0"))
    np.testing.assert_array_equal(wrapped, 2 * plain)


def test_a_config_leads_here_where_no_state_can_be_set():
    config = GymEnv(kind="gymnasium", name="Walk-v0", size=16)
    assert isinstance(make_pixel_env(config, steps=3), WatchedEnv)
    assert make_pixel_env(config, steps=3).max_episode_steps == 3
    assert isinstance(make_pixel_env(TwoRoomEnv(kind="two-room")), TwoRoom)
    assert not isinstance(make_pixel_env(config), RegisteredEnv)
    with pytest.raises(RunError, match="Walk-v0 cannot be put into a state .* has no goals to plan for"):
        make_env(config)
    envs = make_vector_env(config, 2, steps=3)
    observation, info = envs.reset(seed=0)
    assert observation["proprio"].shape == (2, 2) and info == {}
    envs.close()


def test_what_cannot_be_used_is_said():
    with pytest.raises(RunError, match="Blind-v0 cannot be seen: .* no render mode rgb_array; choose"):
        make("Blind-v0")
    with pytest.raises(RunError, match="Unpainted-v0 cannot be drawn: paint is not installed"):
        make("Unpainted-v0")
    with pytest.raises(RunError, match=r"Depth-v0 cannot be drawn: render\(\) gives float32 \(30, 60\)"):
        make("Depth-v0")
    with pytest.raises(RunError, match=r"actions of Several-v0 are MultiDiscrete.*only Box and Discrete"):
        make("Several-v0")
    with pytest.raises(RunError, match="WatchedEnv has no expert"):
        expert_policy(make())


def test_what_is_asked_wrongly_is_said():
    env = make()
    for ask in (env.render, lambda: env.step(0)):
        with pytest.raises(RunError, match="not started; call reset"):
            ask()
    with pytest.raises(DataError, match="reset option 'state' is unknown; Walk-v0 takes a seed alone"):
        env.reset(options={"state": [0.0]})
    env.reset(seed=0)
    with pytest.raises(RunError, match="whole number from -1 to 1"):
        env.step(2)
    assert env.render().shape == (16, 16, 3)
    env.close()
    env.close()


def test_which_observations_are_pictures_and_which_are_felt():
    assert is_picture(spaces.Box(0, 255, (210, 160, 3), np.uint8))
    for space in (
        spaces.Box(0, 255, (7, 7, 3), np.uint8),  # MiniGrid's codes
        spaces.Box(0, 255, (84, 84), np.uint8),
        spaces.Box(0, 1, (64, 64, 3), np.float32),
        spaces.Dict({"image": spaces.Box(0, 255, (64, 64, 3), np.uint8)}),
    ):
        assert not is_picture(space) and proprio_space(space) is None
    assert proprio_space(spaces.Box(-2, 2, (128,), np.float64)) == spaces.Box(-2, 2, (128,), np.float32)
    for space in (spaces.Box(-1, 1, (129,)), spaces.Box(0, 255, (8,), np.uint8), spaces.Discrete(4)):
        assert proprio_space(space) is None
