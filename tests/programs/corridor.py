"""An environment of somebody else: whoever imports this module makes it known to gymnasium."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Corridor(gymnasium.Env):
    """Ten places and no way to be put into one; the last one ends the episode."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, render_mode=None):
        self.observation_space, self.action_space = spaces.Discrete(10), spaces.Discrete(3, start=-1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place = int(self.np_random.integers(3, 9))
        return self._place, {}

    def step(self, action):
        self._place = max(0, self._place + int(action))
        return self._place, float(self._place), self._place == 9, False, {}

    def render(self):
        return np.full((20, 30, 3), 20 * self._place, np.uint8)


gymnasium.register("Corridor-v0", entry_point=Corridor, max_episode_steps=12)
