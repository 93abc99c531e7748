"""Who acts while episodes are recorded: a random walker, or an environment's expert."""

from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepa.envs.base import Expert, GoalEnv, Info, Observation
from jepa.errors import RunError

TURN = 0.3
"""Deviation, in radians, of the heading's change per step."""
REDRAW = 0.1
"""Chance per step of a new heading and speed."""
SPEED = (0.5, 1.4)
"""Range of the speed; 1 gives each number of the action a root mean square of .7 of half its range."""
DISCRETE_REDRAW = 0.25
"""Chance per step of a new discrete action."""
EXPERTS = ("two-room", "pointmaze", "reacher", "metaworld")


class Policy(Protocol):
    """Someone who acts."""

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode; everything that is drawn follows from ``seed``."""
        ...

    def __call__(self, observation: Observation, info: Info) -> NDArray[Any]:
        """Return the action for an observation and what the environment said beside it."""
        ...


class RandomWalk:
    """A heading that turns slowly, with a speed of its own, both drawn anew now and then.

    Actions drawn independently at each step hardly leave their place. In Two-Room a third of the episodes of 100 of
    these pass the door.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        if not isinstance(space, spaces.Box | spaces.Discrete):
            raise RunError(f"no random policy for actions {space}; only Box and Discrete have one")
        if isinstance(space, spaces.Box) and not space.is_bounded():
            raise RunError(f"no random policy for actions without bounds, {space}; bound them")
        self.space: spaces.Box | spaces.Discrete = space
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode with a new heading."""
        self._generator = np.random.default_rng(seed)
        self._heading: NDArray[np.float64] | None = None
        self._speed = 0.0
        self._held = -1

    def __call__(self, observation: Observation, info: Info) -> NDArray[Any]:
        """Return the next action, (A,), whatever was observed."""
        if isinstance(self.space, spaces.Discrete):
            return self._hold(self.space)
        generator, shape = self._generator, self.space.shape
        if self._heading is None or generator.random() < REDRAW:
            self._heading, self._speed = generator.normal(size=shape), generator.uniform(*SPEED)
        else:
            self._heading = self._heading + TURN * generator.normal(size=shape)
        self._heading = self._heading / np.linalg.norm(self._heading)
        push = np.clip(self._speed * np.sqrt(self._heading.size / 2) * self._heading, -1, 1)
        return scale(push, self.space)

    def _hold(self, space: spaces.Discrete) -> NDArray[Any]:
        if self._held < 0 or self._generator.random() < DISCRETE_REDRAW:
            self._held = int(self._generator.integers(space.n))
        return np.asarray(space.start + self._held)


class ExpertPolicy:
    """An environment's own controller, with normal noise on its actions."""

    def __init__(self, env: GoalEnv, *, noise: float = 0.0) -> None:
        if noise and not isinstance(env.action_space, spaces.Box):
            raise RunError(f"noise {noise} needs actions in a Box, not {env.action_space}; set it to 0")
        self.env = env
        self.noise = noise
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode with a new controller."""
        self._generator = np.random.default_rng(seed)
        self._expert = _expert_of(self.env)

    def __call__(self, observation: Observation, info: Info) -> NDArray[Any]:
        """Return the controller's action, (A,), with noise of ``noise`` times half the range, clipped to the bounds."""
        action = self._expert(observation, info)
        space = self.env.action_space
        if not self.noise or not isinstance(space, spaces.Box):
            return action
        half = (space.high - space.low) / 2
        noisy = action + self.noise * half * self._generator.normal(size=action.shape)
        return np.clip(noisy, space.low, space.high).astype(action.dtype)


def random_policy(env: gymnasium.Env[Any, Any]) -> RandomWalk:
    """Return a random walker for an environment. Raises RunError where its actions are of another kind."""
    return RandomWalk(env.action_space)


def expert_policy(env: gymnasium.Env[Any, Any], *, noise: float = 0.0) -> ExpertPolicy:
    """Return an environment's expert. Raises RunError where it has none."""
    inner = env.unwrapped
    if not isinstance(inner, GoalEnv):
        raise RunError(f"{type(inner).__name__} has no expert; those with one are {', '.join(EXPERTS)}")
    return ExpertPolicy(inner, noise=noise)


def scale(push: NDArray[np.float64], space: spaces.Box) -> NDArray[Any]:
    """Stretch numbers from [-1, 1] to the bounds of a Box."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    stretched = low + (push + 1) / 2 * (high - low)
    return np.clip(stretched.astype(space.dtype), space.low, space.high)


def _expert_of(env: GoalEnv) -> Expert:
    expert = env.expert()
    if expert is None:
        raise RunError(f"{type(env).__name__} has no expert; those with one are {', '.join(EXPERTS)}")
    return expert
