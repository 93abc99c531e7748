"""The world of Two-Room over batches: where the disc may be, how it moves, how long the way to a goal is."""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

RADIUS = 0.035
"""Of the disc; lengths are fractions of the square's side."""
STEP = 0.05
"""Displacement per step of an action of 1."""
THICKNESS = 0.04
"""Of the wall between the rooms."""
DOOR = 0.08
"""Half the height of the door."""
ACROSS = THICKNESS / 2 + RADIUS
"""From the wall's middle to the nearest centre of a disc in a room."""
SLACK = DOOR - RADIUS
"""Half the height in which a centre passes the door."""
STANDARD = (0.5, 0.5)
"""wall_x, door_y of the standard layout."""
SHIFTED = ((0.35, 0.65), (0.2, 0.8))
"""Ranges of wall_x and door_y where each episode draws its layout."""


def is_free(states: Doubles) -> NDArray[np.bool_]:
    """Say which states are possible, (..., 4) -> (...): a layout with room for the disc, and no wall in the disc.

    A state is (x, y, wall_x, door_y), x to the right and y down, in a unit square with walls along its border.
    Walls hold back the disc's bounding square, so the space of its centre is two rectangles and a corridor.
    """
    x, y, wall, door = np.moveaxis(states, -1, 0)
    has_rooms = (wall - ACROSS > RADIUS) & (wall + ACROSS < 1 - RADIUS) & (door >= DOOR) & (door <= 1 - DOOR)
    in_square = (x >= RADIUS) & (x <= 1 - RADIUS) & (y >= RADIUS) & (y <= 1 - RADIUS)
    beside_wall = (x <= wall - ACROSS) | (x >= wall + ACROSS)
    in_door = (y >= door - SLACK) & (y <= door + SLACK)
    return has_rooms & in_square & (beside_wall | in_door)


def move(states: Doubles, actions: Doubles) -> Doubles:
    """Advance by one step, (..., 4), (..., 2) in [-1, 1] -> (..., 4): along x, then along y, stopped by walls.

    Each axis is swept: the disc stops at the first wall on its way, however long the step, and what is left of the
    movement slides along the wall.
    """
    x, y, wall, door = np.moveaxis(states, -1, 0)
    left, right = wall - ACROSS, wall + ACROSS
    is_blocked = (y < door - SLACK) | (y > door + SLACK)
    lowest = np.where(is_blocked & (x >= right), right, RADIUS)
    highest = np.where(is_blocked & (x <= left), left, 1 - RADIUS)
    x = np.clip(x + STEP * actions[..., 0], lowest, highest)
    in_corridor = (x > left) & (x < right)
    lowest = np.where(in_corridor, door - SLACK, RADIUS)
    highest = np.where(in_corridor, door + SLACK, 1 - RADIUS)
    y = np.clip(y + STEP * actions[..., 1], lowest, highest)
    return np.stack([x, y, wall, door], axis=-1)


def corners(states: Doubles, *, margin: float = 0.0) -> Doubles:
    """Return the corners a centre's shortest way bends around, (..., 4) -> (4, ..., 2).

    They are left above, left below, right above and right below; ``margin`` draws them in towards the door's middle.
    """
    wall, door = states[..., 2], states[..., 3]
    half = SLACK - margin
    return np.stack(
        [np.stack([wall + dx, door + dy], axis=-1) for dx in (-ACROSS, ACROSS) for dy in (-half, half)]
    )


def sees(states: Doubles, points: Doubles) -> NDArray[np.bool_]:
    """Say whether the straight line to a point is free, (..., 4), (..., 2) -> (...), a grazed corner included."""
    start, layout = states[..., :2], states[..., 2:]
    is_first = (start[..., 0] <= points[..., 0])[..., None]
    a, b = np.where(is_first, start, points), np.where(is_first, points, start)  # from left to right
    entry = np.maximum(a[..., 0], layout[..., 0] - ACROSS)
    leave = np.minimum(b[..., 0], layout[..., 0] + ACROSS)
    slope = (b[..., 1] - a[..., 1]) / np.maximum(b[..., 0] - a[..., 0], 1e-12)
    fits = [
        np.abs(a[..., 1] + slope * (x - a[..., 0]) - layout[..., 1]) <= SLACK + 1e-9 for x in (entry, leave)
    ]
    is_one_room = entry >= leave
    return is_one_room | (fits[0] & fits[1])


def geodesic(states: Doubles, goals: Doubles) -> Doubles:
    """Return the length of the shortest way between centres, (..., 4), (..., 4) -> (...), by the walls of ``states``.

    It is exact: a shortest way is a straight line, or bends at corners of the door, one on each side at most.
    """
    states, goals = np.broadcast_arrays(states, goals)
    start, layout, end = states[..., :2], states[..., 2:], goals[..., :2]
    turns = corners(states)  # (4, ..., 2)
    at_turns = np.concatenate([turns, np.broadcast_to(layout, turns.shape)], axis=-1)  # (4, ..., 4)
    first = np.where(sees(states, turns), _length(turns - start), np.inf)  # (4, ...)
    last = np.where(sees(at_turns, end), _length(turns - end), np.inf)
    between = _length(turns[:, None] - turns)  # (4, 4, ...), 0 where both turns are one
    bent = (first[:, None] + between + last).min(axis=(0, 1))
    return np.where(sees(states, end), _length(end - start), bent)


def _length(vectors: Doubles) -> Doubles:
    """Return Euclidean lengths, (..., 2) -> (...)."""
    return np.hypot(vectors[..., 0], vectors[..., 1])
