"""Registered environments become goal environments where their state can be set."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from jepa.config.envs import GymEnv
from jepa.envs.gymnasium_env import GOAL_STEPS, TOLERANCE, RegisteredEnv, can_be_set
from jepa.envs.rendering import choose_graphics
from jepa.errors import DataError, RunError
from tests.envs import contract


class Slide(gymnasium.Env):
    """A dot on a line, which a package-free test can own: its state is where it is and how fast it goes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    observation_space = spaces.Box(-np.inf, np.inf, (2,))

    def __init__(self, render_mode=None):
        self.action_space = spaces.Discrete(3, start=-1)
        self.steps_beyond_terminated = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = tuple(self.np_random.uniform(-0.5, 0.5, 2))
        self.steps_beyond_terminated = None
        return np.array(self.state), {}

    def step(self, action):
        assert self.steps_beyond_terminated is None, "stepped after its end"
        place, speed = self.state
        speed = 0.9 * speed + 0.05 * action
        self.state = (place + speed, speed)
        self.steps_beyond_terminated = 0 if abs(self.state[0]) > 0.5 else None
        return np.array(self.state), 0.0, self.steps_beyond_terminated == 0, False, {}

    def render(self):
        across = np.exp(-(((np.arange(200) - 100) / 40 - self.state[0]) ** 2) / 0.01)
        return np.repeat((255 * across).astype(np.uint8), 3).reshape(1, 200, 3).repeat(100, axis=0)


class Stateless(Slide):
    """The same without a state that could be set."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.hidden = self.state
        del self.state
        return np.array(self.hidden), {}


class Undrawn(Slide):
    """The same on a machine that lacks a package for drawing."""

    def render(self):
        raise gymnasium.error.DependencyNotInstalled("paint is not installed")


class Spoken(Slide):
    """The same with actions that no planner can search."""

    def __init__(self, render_mode=None):
        self.action_space = spaces.Text(5)


@pytest.fixture(autouse=True)
def registered():
    names = {"Slide-v0": (Slide, 7), "Stateless-v0": (Stateless, None), "Undrawn-v0": (Undrawn, None)}
    names |= {"Spoken-v0": (Spoken, None), "Long-v0": (Slide, None)}
    for name, (kind, steps) in names.items():
        gymnasium.register(name, entry_point=kind, max_episode_steps=steps)
    yield
    for name in names:
        del gymnasium.registry[name]


def make(name="Slide-v0", **changes):
    return RegisteredEnv(GymEnv(kind="gymnasium", name=name, **changes))


@pytest.fixture
def env():
    env = make()
    yield env
    env.close()


@pytest.mark.filterwarnings("ignore:.*infinity")
@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(env, check):
    check(env)


@pytest.mark.filterwarnings("ignore:.*infinity")
@pytest.mark.filterwarnings("ignore:.*we recommend")  # Pendulum takes torques from -2 to 2
@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1", "MountainCar-v0"])
def test_contract_of_classic_control(name):
    pytest.importorskip("pygame")
    env = make(name)
    contract.check_gymnasium(env)
    contract.check_exact_state(env)
    contract.check_goals_are_hidden(env)
    contract.check_drawing_changes_nothing(env)
    env.close()


@pytest.mark.filterwarnings("ignore:.*infinity")
@pytest.mark.parametrize("name", ["Reacher-v5", "HalfCheetah-v5"])
def test_contract_of_mujoco(name):
    choose_graphics()
    pytest.importorskip("mujoco")
    env = make(name)
    contract.check_gymnasium(env)
    contract.check_exact_state(env)
    contract.check_goals_are_hidden(env)
    picture = env.render()
    # Another environment's pictures do not mix with these.
    other = make(name)
    other.reset(seed=50)
    np.testing.assert_array_equal(env.render(), picture)
    other.close()
    np.testing.assert_array_equal(env.render(), picture)
    assert picture.std() > 5
    env.close()


def test_the_registered_limit_holds_and_without_one_there_is_ours(env):
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(7)] == [False] * 6 + [True]
    assert make("Long-v0").max_episode_steps == 1000


def test_a_name_may_begin_with_the_module_that_registers_it():
    env = make(f"{__name__}:Slide-v0")
    assert env.max_episode_steps == 7
    assert can_be_set(f"{__name__}:Slide-v0") and not can_be_set("Stateless-v0")


def test_physics_go_on_where_an_episode_would_end(env):
    env.reset(seed=0, options={"state": [0.4, 0.0]})
    places = [env.step(1)[4]["state"][0] for _ in range(7)]
    assert places[-1] > 0.9 and (np.diff(places) > 0).all()


def test_pictures_are_squeezed_to_a_square(env):
    picture = env.draw([0.5, 0.0])
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    assert picture[0, :, 0].argmax() == pytest.approx((100 + 0.5 * 40) / 200 * 64, abs=1)
    assert make(size=20).render().shape == (20, 20, 3)


def test_goals_are_a_number_of_random_actions_away(env, monkeypatch):
    played = []
    step = env._scratch.step
    monkeypatch.setattr(env._scratch, "step", lambda action: (played.append(action), step(action)))
    generator = np.random.default_rng(0)
    start = env.sample_state(generator)
    goals = np.array([env.sample_state(generator, start) for _ in range(30)])
    assert len(played) == 30 * GOAL_STEPS and set(played) == {-1, 0, 1}
    assert len(np.unique(goals[:, 0])) == 30
    state = start.copy()
    for action in played[:GOAL_STEPS]:
        state[1] = 0.9 * state[1] + 0.05 * action
        state[0] += state[1]
    np.testing.assert_allclose(goals[0], state)


def test_drawing_a_goal_leaves_the_callers_draws_alone(env):
    env.action_space.seed(0)
    alone = [env.action_space.sample() for _ in range(20)]
    env.action_space.seed(0)
    env.reset(seed=0)
    assert [env.action_space.sample() for _ in range(20)] == alone


def test_distance_and_success_are_of_the_state(env):
    assert env.distance([0, 0], [0.3, 0.4]) == pytest.approx(0.5)
    np.testing.assert_allclose(env.distances(np.zeros((2, 2)), [[0, 1], [2, 0]]), [1, 2])
    assert env.is_success([0, 0], [0, TOLERANCE]) and not env.is_success([0, 0], [0, TOLERANCE + 1e-9])


@pytest.mark.parametrize("action", [2, -2, 0.5])
def test_discrete_actions_are_checked(env, action):
    env.reset(seed=0)
    with pytest.raises(RunError, match="whole number from -1 to 1"):
        env.step(action)


def test_what_cannot_be_used_is_said():
    with pytest.raises(DataError, match="'Nowhere-v0' is no environment of gymnasium"):
        make("Nowhere-v0")
    with pytest.raises(DataError, match="'nowhere/X-v0' is no environment of gymnasium"):
        make("nowhere/X-v0")
    with pytest.raises(DataError, match="'not an id' is no environment of gymnasium .*ale_py:ALE/Pong-v5"):
        make("not an id")
    with pytest.raises(RunError, match="nowhere:X-v0 cannot be made: No module named 'nowhere'"):
        make("nowhere:X-v0")
    with pytest.raises(
        RunError, match="Stateless-v0 cannot be put into a state .*no goals to plan for; .*kind: recorded"
    ):
        make("Stateless-v0")
    with pytest.raises(RunError, match="Undrawn-v0 cannot be drawn: paint is not installed"):
        make("Undrawn-v0")
    with pytest.raises(RunError, match="actions of Spoken-v0 are Text"):
        make("Spoken-v0")


def test_a_missing_package_is_said(monkeypatch):
    def fail(*args, **kwargs):
        raise gymnasium.error.DependencyNotInstalled('run `pip install "gymnasium[box2d]"`')

    monkeypatch.setattr(gymnasium, "make", fail)
    with pytest.raises(RunError, match=r"Slide-v0 cannot be made: run `pip install .gymnasium\[box2d\]"):
        make()
