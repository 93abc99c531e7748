"""An environment registered with gymnasium that can be watched, but not put into a state."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from jepa.config.envs import GymEnv
from jepa.envs.base import Image, Info, Observation, PixelEnv, check_action
from jepa.envs.gymnasium_env import check_actions, make, registered_steps, squeeze
from jepa.errors import DataError, RunError

PROPRIO_LARGEST = 128
"""Numbers of an observation that still count as what the agent feels of itself."""
PICTURE_SMALLEST = 16
"""Pixels on a side; smaller arrays of bytes are codes, such as MiniGrid's, and not pictures."""


class WatchedEnv(PixelEnv):
    """An environment by its gymnasium id, such as FrozenLake-v1, as it is: it can be recorded, but has no goals.

    Pixels: the observation itself where it is a picture, (H, W, 3) uint8, and else what `render()` draws; both
    squeezed to a square. Proprioception: the observation where it is one short row of floats, else none. ``info``
    is empty, or holds ``state``, positions and velocities, where the simulator is MuJoCo.

    Actions, rewards and the end of an episode are the environment's own, with all wrappers it was registered with;
    the limit of steps is that of `PixelEnv`. Each episode is played in an environment built anew, so that it depends
    on its seed and actions alone, as far as the environment draws all chance from its own generator.
    """

    def __init__(self, config: GymEnv, *, steps: int | None = None) -> None:
        """Raise DataError for an unknown id, RunError for what cannot be seen, or acted in."""
        self.config = config
        plain = make(config.name, render_mode=None)
        space = plain.observation_space
        check_actions(plain.action_space, config.name)
        self._draws = not is_picture(space)
        if self._draws and "rgb_array" not in plain.metadata.get("render_modes", ()):
            raise RunError(
                f"{config.name} cannot be seen: it observes {space} and has no render mode rgb_array; "
                "choose an environment that draws itself, or whose observation is a picture (H, W, 3) of uint8"
            )
        super().__init__(
            size=config.size,
            proprio_space=proprio_space(space),
            action_space=plain.action_space,
            max_episode_steps=steps or registered_steps(plain),
        )
        self.metadata = plain.metadata | {"render_modes": ["rgb_array"]}
        plain.close()
        self._inner: gymnasium.Env[Any, Any] | None = None
        self._picture: Image | None = None
        self._observe(*self._start(0))  # what drawing lacks is said now
        self.close()

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start an episode from ``seed``. Raises DataError where options are given: there are none."""
        super().reset(seed=seed)
        if options:
            raise DataError(
                f"reset option {sorted(options)[0]!r} is unknown; {self.config.name} takes a seed alone, since it "
                "cannot be put into a state"
            )
        inner, observation = self._start(int(self.np_random.integers(2**31)) if seed is None else seed)
        return self._observe(inner, observation), read_info(inner)

    def step(self, action: NDArray[Any]) -> tuple[Observation, float, bool, bool, Info]:
        """Advance by one step. Raises RunError before the first reset and on an action that is not allowed."""
        if self._inner is None:
            raise RunError("the environment was not started; call reset() before step()")
        checked = check_action(action, self.action_space)
        observation, reward, terminated, truncated, _ = self._inner.step(
            checked if checked.ndim else checked[()]
        )
        seen = self._observe(self._inner, observation)
        return seen, float(reward), bool(terminated), bool(truncated), read_info(self._inner)

    def render(self) -> Image:
        """Return the present picture. Raises RunError before the first reset."""
        if self._picture is None:
            raise RunError("the environment was not started; call reset() before render()")
        return self._picture

    def close(self) -> None:
        """Free the environment; it may be called twice."""
        if self._inner is not None:
            self._inner.close()
            self._inner = self._picture = None

    def _start(self, seed: int) -> tuple[gymnasium.Env[Any, Any], Any]:
        """Build the environment anew and start it; return it with its first observation."""
        self.close()
        self._inner = make(
            self.config.name,
            render_mode="rgb_array" if self._draws else None,
            steps=self.max_episode_steps,
        )
        return self._inner, self._inner.reset(seed=seed)[0]

    def _observe(self, env: gymnasium.Env[Any, Any], observation: Any) -> Observation:
        """Return what is seen and felt; keep the picture."""
        picture = self._drawn(env) if self._draws else observation
        self._picture = squeeze(picture, self.size)
        observed = {"pixels": self._picture}
        if "proprio" in self.observation_space.spaces:
            observed["proprio"] = np.asarray(observation, np.float32)
        return observed

    def _drawn(self, env: gymnasium.Env[Any, Any]) -> Image:
        """Return what the environment draws, (H, W, 3). Raises RunError where it draws nothing of the kind."""
        try:
            picture: Any = env.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise RunError(f"{self.config.name} cannot be drawn: {error}") from error
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.shape[2:] != (3,):
            found = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else type(picture)
            raise RunError(
                f"{self.config.name} cannot be drawn: render() gives {found}; it must give a picture (H, W, 3) of uint8"
            )
        return picture


def is_picture(space: spaces.Space[Any]) -> bool:
    """Say whether an observation is a picture, (H, W, 3) uint8."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or space.shape[2:] != (3,):
        return False
    return min(space.shape[:2]) >= PICTURE_SMALLEST


def proprio_space(space: spaces.Space[Any]) -> spaces.Box | None:
    """Return the space of an observation that is one short row of floats, as float32, or None for another.

    >>> proprio_space(spaces.Box(-1, 1, (3,), np.float64))
    Box(-1.0, 1.0, (3,), float32)
    """
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        return None
    if len(space.shape) != 1 or space.shape[0] > PROPRIO_LARGEST:
        return None
    return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32))


def read_info(env: gymnasium.Env[Any, Any]) -> Info:
    """Return ``state``, (S,) float64, a copy, where the simulator is one of MuJoCo's; there is no goal."""
    inner: Any = env.unwrapped
    if not hasattr(inner, "mujoco_renderer"):
        return {}
    return {"state": np.concatenate([inner.data.qpos, inner.data.qvel])}
