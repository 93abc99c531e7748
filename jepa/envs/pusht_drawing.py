"""Images of PushT at any size, drawn from distances to the outlines, without a graphics library."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jepa.envs.pusht_physics import AGENT_RADIUS, INNER, WINDOW, centre, clearance

GROUND = 255.0
WALL = np.array([211, 211, 211], dtype=np.float32)
AGENT = np.array([65, 105, 225], dtype=np.float32)
BLOCK = np.array([119, 136, 153], dtype=np.float32)
GOAL = np.array([144, 238, 144], dtype=np.float32)
BLOCK_REACH = 77.0
"""No point of the block is farther than this from its centre of gravity."""
WALL_WIDTH = 4
"""Of the line that shows a wall, as published."""


def draw_scene(
    state: NDArray[np.float64], size: int, *, goal: NDArray[np.float64] | None = None
) -> NDArray[np.uint8]:
    """Draw a state, (7,) -> (size, size, 3); with the block's pose in ``goal`` below it, where that is given."""
    image = _ground(size).copy()
    if goal is not None:
        _paint_block(image, goal, GOAL)
    _paint_block(image, state, BLOCK)
    rows, columns, points = _around(state[:2], AGENT_RADIUS, size)
    away = np.linalg.norm(points - state[:2], axis=-1) - AGENT_RADIUS
    _paint(image, rows, columns, away, AGENT)
    return image


def _paint_block(image: NDArray[np.uint8], state: NDArray[np.float64], colour: NDArray[np.float32]) -> None:
    rows, columns, points = _around(centre(state), BLOCK_REACH, len(image))
    _paint(image, rows, columns, clearance(state, points), colour)


def _paint(
    image: NDArray[np.uint8],
    rows: slice,
    columns: slice,
    away: NDArray[np.float64],
    colour: NDArray[np.float32],
) -> None:
    """Paint what is inside an outline, with an edge one pixel soft; ``away`` is in the window's pixels, (h, w)."""
    covered = np.clip(0.5 - away * (len(image) / WINDOW), 0, 1)[..., None].astype(np.float32)
    image[rows, columns] = np.rint(image[rows, columns] * (1 - covered) + covered * colour)


def _around(middle: NDArray[np.float64], reach: float, size: int) -> tuple[slice, slice, NDArray[np.float64]]:
    """Return rows and columns of the image that a shape may touch, and their middles in the window, (h, w, 2)."""
    pixel = WINDOW / size
    low = np.clip(np.floor((middle - reach) / pixel - 0.5), 0, size).astype(int)
    high = np.clip(np.ceil((middle + reach) / pixel + 0.5), low, size).astype(int)
    x, y = ((np.arange(low[axis], high[axis]) + 0.5) * pixel for axis in (0, 1))
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
    return slice(low[1], high[1]), slice(low[0], high[0]), points


@lru_cache(maxsize=8)
def _ground(size: int) -> NDArray[np.uint8]:
    """Return the picture without agent and block; it is shared, so callers copy it."""
    middles = (np.arange(size) + 0.5) * (WINDOW / size)
    # Distance of a pixel's middle from the line that shows the nearest wall, along each axis.
    lines = (INNER[0] - WALL_WIDTH / 2, INNER[1] + WALL_WIDTH / 2)
    along = np.min([np.abs(middles - line) for line in lines], axis=0) - WALL_WIDTH / 2
    # Thinner than a pixel, a line covers a share of it, not all.
    share = np.clip(0.5 - along * (size / WINDOW), 0, min(1.0, WALL_WIDTH * size / WINDOW))
    covered = np.maximum(share[None, :], share[:, None])[..., None]
    return np.rint(GROUND + covered * (WALL - GROUND)).astype(np.uint8)
