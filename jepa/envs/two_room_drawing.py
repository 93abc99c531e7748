"""Images of Two-Room: a disc whose position can be read to a fraction of a pixel, and the wall between the rooms."""

import numpy as np
from numpy.typing import NDArray

from jepa.envs.two_room_world import DOOR, RADIUS, THICKNESS

Indices = NDArray[np.int64]

FLOOR = 240.0
WALL = np.array([58, 66, 82], dtype=np.float32)
DISC = np.array([214, 48, 40], dtype=np.float32)


def draw_rooms(states: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Draw states, (n, 4) -> (n, size, size, 3). The edge of the picture is the outer wall; the goal is never drawn."""
    images = np.full((len(states), size, size, 3), FLOOR, dtype=np.uint8)
    _draw_wall(images, states[:, 2:])
    _draw_disc(images, states[:, :2])
    return images


def _draw_wall(images: NDArray[np.uint8], layouts: NDArray[np.float64]) -> None:
    """Draw the wall without its door on the floor, only where it may be; each pixel by the area that is covered."""
    size = images.shape[1]
    wall, door = layouts[:, :1], layouts[:, 1:]
    width = min(size, int(np.ceil(THICKNESS * size)) + 1)
    first = np.clip(np.floor((wall - THICKNESS / 2) * size), 0, size - width).astype(np.int64)
    columns, rows = first + np.arange(width), np.arange(size)[None]  # (n, width), (1, size)
    across = _shares(columns, wall, THICKNESS / 2, size)
    down = 1 - _shares(rows, door, DOOR, size)  # (n, size)
    covered = (down[:, :, None] * across[:, None, :])[..., None]  # (n, size, width, 1)
    images[_patch(rows, columns, len(images))] = np.rint(FLOOR + covered * (WALL - FLOOR))


def _draw_disc(images: NDArray[np.uint8], centres: NDArray[np.float64]) -> None:
    """Draw a disc with an edge one pixel soft, only where it may be."""
    size = images.shape[1]
    centre = centres.astype(np.float32) * np.float32(size)  # (n, 2), in pixels from the corner
    radius = RADIUS * size
    side = min(size, int(np.ceil(2 * radius)) + 3)
    corner = np.clip(np.floor(centre - side / 2 + 0.5), 0, size - side).astype(np.int64)
    columns, rows = (corner[:, axis, None] + np.arange(side) for axis in (0, 1))  # (n, side)
    across = columns + np.float32(0.5) - centre[:, :1]
    down = rows + np.float32(0.5) - centre[:, 1:]
    away = np.sqrt(across[:, None, :] ** 2 + down[:, :, None] ** 2)  # (n, side, side)
    covered = np.clip(np.float32(radius + 0.5) - away, 0, 1)[..., None]
    patch = _patch(rows, columns, len(images))
    images[patch] = np.rint(images[patch] * (1 - covered) + DISC * covered)


def _patch(rows: Indices, columns: Indices, images: int) -> tuple[Indices, Indices, Indices]:
    """Return an index of a rectangle in each image, from (n, h) and (n, w)."""
    return np.arange(images)[:, None, None], rows[:, :, None], columns[:, None, :]


def _shares(pixels: Indices, middle: NDArray[np.float64], half: float, size: int) -> NDArray[np.float32]:
    """Return how much of each pixel lies within ``half`` of ``middle``, (n, k), (n, 1) -> (n, k)."""
    inside = np.minimum((middle + half) * size, pixels + 1) - np.maximum((middle - half) * size, pixels)
    return np.asarray(np.clip(inside, 0, 1), dtype=np.float32)
