"""From a config to an environment, and the names under which gymnasium knows ours."""

from typing import Literal

import gymnasium

from jepa.config.envs import (
    EnvConfig,
    GymEnv,
    MetaWorldEnv,
    PointMazeEnv,
    PushTEnv,
    ReacherEnv,
    TwoRoomEnv,
)
from jepa.envs.base import GoalEnv, PixelEnv
from jepa.envs.pusht import PushT
from jepa.envs.two_room import TwoRoom
from jepa.envs.two_room_vector import TwoRoomVector
from jepa.envs.vector import GoalVector
from jepa.errors import RunError

IDS = {"jepa/TwoRoom-v0": "two_room", "jepa/PushT-v0": "pusht"}


def make_env(config: EnvConfig, *, steps: int | None = None) -> GoalEnv:
    """Build an environment; its episodes last ``steps``, by default its own limit.

    Raises RunError where the environment's package is not installed, and where it cannot have goals.
    """
    env = _build(config)
    if steps is not None:
        env.max_episode_steps = steps
    return env


def make_pixel_env(config: EnvConfig, *, steps: int | None = None) -> PixelEnv:
    """Build an environment to record: as `make_env` does, or where it cannot have goals one without.

    Raises RunError where the environment's package is not installed, or where it cannot be seen.
    """
    if isinstance(config, GymEnv):
        from jepa.envs.gymnasium_env import can_be_set
        from jepa.envs.watched_env import WatchedEnv

        if not can_be_set(config.name):
            return WatchedEnv(config, steps=steps)
    return make_env(config, steps=steps)


def make_vector_env(config: EnvConfig, count: int, *, steps: int | None = None) -> TwoRoomVector | GoalVector:
    """Build ``count`` environments to record behind gymnasium's vector interface; see `GoalVector`."""
    if count < 1:
        raise RunError(f"{count} environments were asked for; ask for at least 1")
    if isinstance(config, TwoRoomEnv):
        rooms = TwoRoomVector(config, count)
        rooms.max_episode_steps = rooms.max_episode_steps if steps is None else steps
        return rooms
    return GoalVector([lambda: make_pixel_env(config, steps=steps)] * count)


def register() -> None:
    """Make our environments known to `gymnasium.make`, by the names in `IDS`; call it once, or more often."""
    for name, function in IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=f"{__name__}:{function}")


def two_room(
    *,
    size: int = 64,
    layout: Literal["standard", "shifted"] = "standard",
    cross: bool = True,
    render_mode: Literal["rgb_array"] = "rgb_array",
) -> TwoRoom:
    """Build Two-Room from plain arguments, for `gymnasium.make`."""
    return TwoRoom(TwoRoomEnv(kind="two-room", size=size, layout=layout), cross=cross)


def pusht(
    *, size: int = 64, draw_goal: bool = False, render_mode: Literal["rgb_array"] = "rgb_array"
) -> PushT:
    """Build PushT from plain arguments, for `gymnasium.make`."""
    return PushT(PushTEnv(kind="pusht", size=size, draw_goal=draw_goal))


def _build(config: EnvConfig) -> GoalEnv:
    """Return the environment of a config's kind."""
    match config:
        case TwoRoomEnv():
            return TwoRoom(config)
        case PushTEnv():
            return PushT(config)
        case PointMazeEnv():
            from jepa.envs.pointmaze import PointMaze

            return PointMaze(config)
        case ReacherEnv():
            from jepa.envs.reacher import Reacher

            return Reacher(config)
        case MetaWorldEnv():
            from jepa.envs.metaworld import MetaWorld

            return MetaWorld(config)
        case GymEnv():
            from jepa.envs.gymnasium_env import RegisteredEnv

            return RegisteredEnv(config)
