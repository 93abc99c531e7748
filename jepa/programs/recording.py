"""Recorded episodes: what happens when policies act in environments."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepa.config.envs import CollectConfig, TwoRoomEnv
from jepa.envs.base import PixelEnv
from jepa.envs.policies import Policy, expert_policy, random_policy
from jepa.envs.registry import make_vector_env
from jepa.envs.two_room_vector import TwoRoomVector
from jepa.runtime.seeding import derive
from jepa.types import Trajectory

LANES = 32  # episodes that are recorded side by side where an environment computes them as one array
HELD_BYTES = 100_000_000  # of the frames of all lanes
SEEDS = 2**31  # some environments take no larger seed

Value = float | bool | str
Recorded = tuple[int, Trajectory, dict[str, Value]]
"""An episode's number, the episode, and what is kept beside it."""
Rows = Sequence[dict[str, Any]]
"""What the environments said at each step, with a first axis of lanes."""


class Recorder:
    """Environments and who acts in them; records episodes by their numbers, in any order.

    Episode k is always recorded in lane k modulo ``lanes``, beside the same others, and ``lanes`` follows from the
    config: rounding in array arithmetic can depend on what is computed side by side.
    """

    def __init__(self, config: CollectConfig) -> None:
        """Raise RunError where a package is not installed, or where the environment has no such policy."""
        self._config = config
        first = make_vector_env(config.env, 1, steps=config.steps)
        self.env = _single(first, 0)
        self.lanes = _lanes(config, config.steps or self.env.max_episode_steps)
        self._envs = first if self.lanes == 1 else make_vector_env(config.env, self.lanes, steps=config.steps)
        self._policies = [self._policy(_single(self._envs, lane)) for lane in range(self.lanes)]

    def _policy(self, env: PixelEnv) -> Policy:
        return expert_policy(env) if self._config.policy == "expert" else random_policy(env)

    def record(self, numbers: Sequence[int]) -> list[Recorded]:
        """Record the episodes ``numbers``, all of which have the same quotient by ``lanes``.

        An episode depends on the config and its number alone. Discrete actions are kept one-hot, as a world model
        takes them.
        """
        first = numbers[0] // self.lanes * self.lanes
        seeds = [self._seed("episode", first + lane) for lane in range(self.lanes)]
        for lane, policy in enumerate(self._policies):
            policy.reset(self._seed("policy", first + lane))
        observation, info = self._envs.reset(seed=seeds)
        observations, infos = [observation], [info]
        actions, rewards, is_over = [], [], False
        while not is_over:
            chosen = [policy(row(observation, i), row(info, i)) for i, policy in enumerate(self._policies)]
            observation, reward, terminated, truncated, info = self._envs.step(np.stack(chosen))
            is_over = bool((terminated | truncated).all())  # lanes end together, or there is one
            actions.append([as_numbers(action, self.env.action_space) for action in chosen])
            rewards.append(reward)
            observations.append(observation)
            infos.append(info)
        return [
            (
                number,
                self._trajectory(number, observations, infos, np.array(actions), np.array(rewards)),
                self._values(number, seeds, info),
            )
            for number in numbers
        ]

    def _values(self, number: int, seeds: Sequence[int], info: dict[str, Any]) -> dict[str, Value]:
        """Return what is kept beside an episode: its seed, and where there are goals whether it ended at its goal."""
        lane = number % self.lanes
        values: dict[str, Value] = {"seed": seeds[lane]}
        if "success" in info:
            values["success"] = bool(info["success"][lane])
        return values

    def _seed(self, what: str, number: int) -> int:
        return derive(self._config.seed, what, number) % SEEDS

    def _trajectory(
        self,
        number: int,
        observations: Rows,
        infos: Rows,
        actions: NDArray[np.float32],
        rewards: NDArray[np.float64],
    ) -> Trajectory:
        """Cut one lane out: actions (T, lanes, A), rewards (T, lanes)."""
        lane = number % self.lanes
        proprio, states = _column(observations, "proprio", lane), _column(infos, "state", lane)
        return Trajectory(
            name=f"episode-{number:06d}",
            frames=np.stack([each["pixels"][lane] for each in observations]),  # (T + 1, H, W, 3)
            actions=actions[:, lane],  # (T, A)
            rate=self.env.metadata.get("render_fps"),
            proprio=None if proprio is None else proprio.astype(np.float32),  # (T + 1, P)
            rewards=rewards[:, lane].astype(np.float32),
            states=None if states is None else states.astype(np.float64),  # (T + 1, S)
        )

    def close(self) -> None:
        """Free what the environments hold."""
        self.env.close()
        self._envs.close()


def row(values: dict[str, Any], lane: int) -> dict[str, Any]:
    """Return what one lane observed, or was told."""
    return {name: value[lane] for name, value in values.items()}


def as_numbers(action: NDArray[Any], space: spaces.Space[Any]) -> NDArray[np.float32]:
    """Return an action as (A,) float32: a discrete one as a one-hot vector.

    >>> as_numbers(np.array(2), spaces.Discrete(3)).tolist()
    [0.0, 0.0, 1.0]
    """
    if isinstance(space, spaces.Discrete):
        one_hot = np.zeros(int(space.n), np.float32)
        one_hot[int(action) - int(space.start)] = 1
        return one_hot
    return np.asarray(action, np.float32).reshape(-1)


def _column(rows: Rows, name: str, lane: int) -> NDArray[Any] | None:
    """Return what one lane said under a name, (T + 1, ...), or None where the environment has no such thing."""
    return np.stack([each[name][lane] for each in rows]) if name in rows[0] else None


def _single(envs: Any, lane: int) -> PixelEnv:
    """Return the environment of a lane, for its spaces and its expert."""
    env: PixelEnv = envs.single if isinstance(envs, TwoRoomVector) else envs.envs[lane]
    return env


def _lanes(config: CollectConfig, steps: int) -> int:
    """Return how many episodes are recorded side by side: one where that is not faster."""
    if not isinstance(config.env, TwoRoomEnv):
        return 1
    episode_bytes = (steps + 1) * config.env.size**2 * 3
    return max(1, min(LANES, HELD_BYTES // episode_bytes))
