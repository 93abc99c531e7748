"""Many Two-Rooms stepped at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from jepa.config.envs import TwoRoomEnv
from jepa.envs.base import Image, Info, Observation, State, check_action
from jepa.envs.two_room import TwoRoom, is_reached
from jepa.envs.two_room_drawing import draw_rooms
from jepa.envs.two_room_world import geodesic, move
from jepa.envs.vector import Seeds, Step, split_options, split_seeds
from jepa.errors import RunError


class TwoRoomVector(VectorEnv[Observation, NDArray[Any], NDArray[Any]]):
    """n Two-Rooms in one array, equal to n `TwoRoom` with seeds ``seed`` + i, behind the interface of `GoalVector`."""

    def __init__(self, config: TwoRoomEnv, count: int, *, cross: bool = True) -> None:
        self.single = TwoRoom(config, cross=cross)
        self.num_envs = count
        self.metadata = self.single.metadata | {"autoreset_mode": AutoresetMode.DISABLED}
        self.render_mode = self.single.render_mode
        self.single_observation_space = self.single.observation_space
        self.single_action_space = self.single.action_space
        self.observation_space = batch_space(self.single.observation_space, count)
        self.action_space = batch_space(self.single.action_space, count)
        self.max_episode_steps = self.single.max_episode_steps
        self._generators: list[np.random.Generator | None] = [None] * count
        self._states = np.zeros((count, 4))
        self._goals = np.zeros((count, 4))
        self._steps = np.full(count, -1)  # -1: not started

    @property
    def states(self) -> State:
        """The states, (n, 4), a copy."""
        return self._states.copy()

    def reset(
        self, *, seed: Seeds = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start all episodes, or those of the mask. Raises DataError on a wrong option."""
        chosen, rows = split_options(options, self.num_envs)
        chosen |= self._steps < 0
        seeds = split_seeds(seed, self.num_envs)
        for i in np.flatnonzero(chosen):
            generator = self._generators[i]
            if generator is None or seeds[i] is not None:
                generator, _ = seeding.np_random(seeds[i])
                self._generators[i] = generator
            self._states[i], self._goals[i] = self.single.ends(rows[i], generator)
        self._steps[chosen] = 0
        goals = np.zeros((self.num_envs, self.single.size, self.single.size, 3), np.uint8)
        goals[chosen] = draw_rooms(self._goals[chosen], self.single.size)
        info = self._info() | {"goal": goals}
        for value in info.values():
            value[~chosen] = 0
        return self._observe(), _masked(info, chosen)

    def step(self, actions: NDArray[Any]) -> Step:
        """Step all: (n, 2) -> observations, rewards (n,), terminated (n,), truncated (n,), info."""
        if (self._steps < 0).any():
            raise RunError("the environments were not started; call reset() before step()")
        self._states = move(self._states, check_action(actions, self.action_space).astype(np.float64))
        self._steps += 1
        info = self._info()
        truncated = self._steps >= self.max_episode_steps
        everyone = np.ones(self.num_envs, dtype=np.bool_)
        return self._observe(), -info["distance"], ~everyone, truncated, _masked(info, everyone)

    def render(self) -> tuple[Image, ...]:
        """Return one image per environment."""
        return tuple(draw_rooms(self._states, self.single.size))

    def _observe(self) -> Observation:
        pixels = draw_rooms(self._states, self.single.size)  # (n, size, size, 3)
        return {"pixels": pixels, "proprio": self._states[:, :2].astype(np.float32)}

    def _info(self) -> Info:
        return {
            "state": self._states.copy(),
            "goal_state": self._goals.copy(),
            "distance": geodesic(self._states, self._goals),
            "success": is_reached(self._states, self._goals),
        }


def _masked(info: Info, present: NDArray[np.bool_]) -> Info:
    """Put gymnasium's mask ``_key`` beside each key."""
    return info | {f"_{name}": present.copy() for name in info}
