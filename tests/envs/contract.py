"""What every adapter must keep, checked on an environment that a test gives."""

import sys
from types import ModuleType

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepa.errors import DataError, RunError


def check_gymnasium(env):
    """Gymnasium finds nothing wrong."""
    check_env(env, skip_render_check=True)  # which wants an id


def walk(env, steps, seed=0):
    """States of random actions from the present one, and the actions."""
    env.action_space.seed(seed)
    actions = [env.action_space.sample() for _ in range(steps)]
    states = []
    for action in actions:
        env.step(action)
        states.append(env.state)
    return np.array(states), np.array(actions)


def check_exact_state(env, steps=10):
    """Set, play, set again: the same numbers and pixels, and the same future, whatever came before."""
    env.reset(seed=1)
    start = env.state
    picture = env.draw(start)
    first, actions = walk(env, steps)
    assert not np.array_equal(env.draw(env.state), picture)
    env.set_state(start)
    np.testing.assert_array_equal(env.state, start)
    np.testing.assert_array_equal(env.render(), picture)
    again, _ = walk(env, steps)
    np.testing.assert_array_equal(again, first)
    # A copy that never saw the episode comes to the same states, one step at a time.
    before = np.concatenate([start[None], first[:-1]])
    np.testing.assert_array_equal(env.copy_step(before, actions), first)
    np.testing.assert_array_equal(env.copy_step(before[::-1], actions[::-1]), first[::-1])
    np.testing.assert_array_equal(env.state, again[-1])


def check_drawing_changes_nothing(env):
    """Asking about other states leaves the episode alone."""
    env.reset(seed=2)
    other = env.goal_state
    start = env.state
    alone, _ = walk(env, 5)
    env.set_state(start)
    env.action_space.seed(0)
    for expected in alone:
        env.draw(other)
        env.distance(other, start)
        env.is_success(other, start)
        env.step(env.action_space.sample())
        np.testing.assert_array_equal(env.state, expected)


def check_goals_are_hidden(env):
    """The same state with another goal is the same picture, and a goal's picture is that of its state."""
    _, info = env.reset(seed=3)
    start, goal = info["state"], info["goal_state"]
    np.testing.assert_array_equal(info["goal"], env.draw(goal))
    shown, _ = env.reset(options={"state": start, "goal_state": goal})
    hidden, _ = env.reset(options={"state": start, "goal_state": start})
    np.testing.assert_array_equal(shown["pixels"], hidden["pixels"])


def check_seeds(env):
    """One seed gives one start and one goal; another seed others; and a reached goal is a success at distance 0."""
    first, again, other = (env.reset(seed=seed)[1] for seed in (5, 5, 6))
    for name in ("state", "goal_state"):
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])
    assert not first["success"] and first["distance"] > 0
    assert env.is_success(first["goal_state"], first["goal_state"])
    assert env.distance(first["goal_state"], first["goal_state"]) == pytest.approx(0, abs=1e-9)


def check_bad_input(env):
    """States and actions that cannot be are refused."""
    env.reset(seed=0)
    state = env.state
    with pytest.raises(DataError, match=f"give {len(state)} numbers"):
        env.set_state(state[:-1])
    with pytest.raises(DataError, match="not finite"):
        env.set_state(np.full_like(state, np.nan))
    with pytest.raises(RunError, match="does not fit"):
        env.step(np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(env.state, state)


def check_missing(monkeypatch, build, module, extra):
    """Without a module, one line says what to install; mujoco, which is asked for first, may be absent as well."""
    monkeypatch.setitem(sys.modules, "mujoco", ModuleType("mujoco"))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RunError, match=rf"^{module} cannot be imported .*pip install 'jepa\[{extra}\]'$"):
        build()


CHECKS = [
    check_gymnasium,
    check_exact_state,
    check_drawing_changes_nothing,
    check_goals_are_hidden,
    check_seeds,
    check_bad_input,
]
