"""Two-Room as an environment: a disc seeks a goal behind the door."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepa.config.envs import TwoRoomEnv
from jepa.envs import two_room_world as world
from jepa.envs.base import Expert, GoalEnv, Image, Info, Observation, State, check_action
from jepa.envs.two_room_drawing import draw_rooms
from jepa.errors import DataError

MAX_STEPS = 100
SUCCESS_RADIUS = 0.05
"""Largest distance of the disc's centre from the goal's that counts as reached: one full step."""


class TwoRoom(GoalEnv):
    """A disc in two rooms joined by a door (PLDM, arXiv:2502.14819, has a world of this kind).

    State: (x, y, wall_x, door_y), as fractions of the square's side, x to the right and y down; the layout never
    changes within an episode. Action: displacement along x and y, in steps of `world.STEP`. Proprioception: (x, y).
    Distance: the length of the shortest way through the door. Success: the centre is within `SUCCESS_RADIUS` of the
    goal's in a straight line, and the layouts are the same.

    By default start and goal lie in different rooms; with ``cross`` false each lies anywhere in the rooms.
    """

    def __init__(self, config: TwoRoomEnv, *, cross: bool = True) -> None:
        super().__init__(
            size=config.size,
            state_size=4,
            proprio_space=spaces.Box(0, 1, (2,), np.float32),
            action_space=spaces.Box(-1, 1, (2,), np.float32),
            max_episode_steps=MAX_STEPS,
        )
        self.config = config
        self.cross = cross
        self._state = np.array([0.25, 0.5, *world.STANDARD])

    @property
    def state(self) -> State:
        """The disc's centre and the layout, (4,), a copy."""
        return self._state.copy()

    def check_state(self, state: ArrayLike) -> State:
        """Return ``state`` as float64. Raises DataError also where a wall is in the disc or the layout has no room."""
        checked = super().check_state(state)
        if not world.is_free(checked):
            x, y, wall, door = (round(float(number), 4) for number in checked)
            raise DataError(
                f"state (x, y, wall_x, door_y) = ({x}, {y}, {wall}, {door}) puts the disc into a wall or the wall "
                f"out of the square; keep the centre {world.RADIUS} from walls, wall_x from "
                f"{world.ACROSS + world.RADIUS:g} to {1 - world.ACROSS - world.RADIUS:g} and door_y from "
                f"{world.DOOR:g} to {1 - world.DOOR:g}"
            )
        return checked

    def ends(self, options: Mapping[str, Any], generator: np.random.Generator) -> tuple[State, State]:
        """Return start and goal of an episode. Raises DataError also where they have different layouts."""
        state, goal = super().ends(options, generator)
        if not np.array_equal(state[2:], goal[2:]):
            raise DataError(
                f"start and goal have different layouts, (wall_x, door_y) = {tuple(state[2:].tolist())} and "
                f"{tuple(goal[2:].tolist())}; give both the same"
            )
        return state, goal

    def _set_state(self, state: State) -> None:
        self._state = state

    def draw(self, state: ArrayLike) -> Image:
        """Draw a state, (4,) -> (size, size, 3)."""
        return draw_rooms(self.check_state(state)[None], self.size)[0]

    def distance(self, state: ArrayLike, goal: ArrayLike) -> float:
        """Return the length of the shortest way to the goal, by the walls of ``state``."""
        return float(self.distances(state, goal))

    def distances(self, states: ArrayLike, goals: ArrayLike) -> NDArray[np.float64]:
        """Return the length of each shortest way, (n, 4), (n, 4) -> (n,)."""
        return world.geodesic(np.asarray(states, np.float64), np.asarray(goals, np.float64))

    def is_success(self, state: ArrayLike, goal: ArrayLike) -> bool:
        """Say whether the centre is within `SUCCESS_RADIUS` of the goal's, in the same layout."""
        return bool(is_reached(np.asarray(state, np.float64), np.asarray(goal, np.float64)))

    def sample_state(self, generator: np.random.Generator, other: State | None = None) -> State:
        """Draw a state, (4,); or, where ``other`` is given, one of its layout, across the door where that is asked."""
        return sample_state(
            generator, other, is_shifted=self.config.layout == "shifted", is_across=self.cross
        )

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Return the disc's centre, (2,)."""
        return state[:2].astype(np.float32)

    def advance(self, action: NDArray[np.float32]) -> None:
        """Move the disc by one step."""
        self._state = world.move(self._state, action.astype(np.float64))

    def copy_step(self, states: ArrayLike, actions: ArrayLike) -> State:
        """Advance many states by one step, (n, 4), (n, 2) -> (n, 4), at once."""
        checked = check_action(actions, spaces.Box(-1, 1, np.shape(actions), np.float32))
        return world.move(np.asarray(states, np.float64), checked.astype(np.float64))

    def copy(self) -> Self:
        """Build a second environment of the same kind."""
        return type(self)(self.config, cross=self.cross)

    def expert(self) -> Expert:
        """Return a controller that walks the shortest way, a little inside the corners."""
        return follow_shortest_way


def sample_state(
    generator: np.random.Generator, other: State | None, *, is_shifted: bool, is_across: bool
) -> State:
    """Draw a state, (4,), uniform in both rooms by area; or the other end of an episode that has one at ``other``.

    The other end has the layout of ``other`` and, where ``is_across``, lies in the other room.
    """
    if other is not None:
        wall, door = other[2:]
    elif is_shifted:
        wall, door = (generator.uniform(low, high) for low, high in world.SHIFTED)
    else:
        wall, door = world.STANDARD
    widths = (
        np.array([wall - world.ACROSS, 1 - wall - world.ACROSS]) - world.RADIUS
    )  # of the left and right room
    is_right = generator.random() < widths[1] / widths.sum()
    if other is not None and is_across:
        is_right = other[0] < wall
    low = wall + world.ACROSS if is_right else world.RADIUS
    x = generator.uniform(low, low + widths[int(is_right)])
    y = generator.uniform(world.RADIUS, 1 - world.RADIUS)
    return np.array([x, y, wall, door])


def is_reached(states: State, goals: State) -> NDArray[np.bool_]:
    """Say which states reach their goals, (..., 4), (..., 4) -> (...); the rule of success."""
    is_near = np.linalg.norm(states[..., :2] - goals[..., :2], axis=-1) <= SUCCESS_RADIUS
    return is_near & (states[..., 2:] == goals[..., 2:]).all(axis=-1)


def follow_shortest_way(observation: Observation, info: Info) -> NDArray[np.float32]:
    """Return the action, (2,), that leads straight to the next bend of the shortest way, or to the goal."""
    state, goal = info["state"], info["goal_state"]
    target = goal[:2]
    if not world.sees(state, target):
        # Inside the corners, so that rounding does not hold the disc at the door's edge.
        turns = world.corners(state, margin=0.01)  # (4, 2)
        at_turns = np.concatenate([turns, np.tile(state[2:], (4, 1))], axis=-1)
        away = np.linalg.norm(turns - state[:2], axis=-1)
        lengths = away + world.geodesic(at_turns, goal)
        lengths[~world.sees(np.tile(state, (4, 1)), turns) | (away < 1e-3)] = np.inf
        target = turns[lengths.argmin()]
    wanted = (target - state[:2]) / world.STEP
    return np.asarray(wanted / max(1.0, float(np.abs(wanted).max())), dtype=np.float32)
