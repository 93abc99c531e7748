"""Shortest ways around the walls of a maze of unit squares."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]


ROUNDING = 1e-9
"""Ways touch the corners that they bend around; without this, rounding would now and then put them inside."""


class MazePaths:
    """Shortest ways of a point that keeps ``margin`` from walls, whose inflated corners stay square.

    ``rows`` are the maze's rows from the top, true where a wall is; the maze is centred on the origin, y upwards. A
    larger ``bend`` moves the points where ways bend further from the corners, and makes the ways a little longer.
    """

    def __init__(self, rows: Sequence[Sequence[bool]], *, margin: float, bend: float | None = None) -> None:
        self.walls = np.array(rows, dtype=bool)  # (R, C)
        self.middle = np.array([self.walls.shape[1], self.walls.shape[0]]) / 2
        self.centres = self._centres(~self.walls)  # of free squares, (F, 2)
        corners = np.array(_rectangles(self.walls), dtype=np.float64)  # (W, 4)
        self.low = corners[:, [2, 1]] * [1, -1] + [-1, 1] * self.middle - (margin - ROUNDING)  # (W, 2)
        self.high = corners[:, [3, 0]] * [1, -1] + [-1, 1] * self.middle + (margin - ROUNDING)
        self.turns = self._turns(margin if bend is None else bend)  # where shortest ways bend, (K, 2)
        apart = np.linalg.norm(self.turns[:, None] - self.turns, axis=-1)
        self.between = _shortest(
            np.where(self.sees(self.turns[:, None], self.turns), apart, np.inf)
        )  # (K, K)

    def is_free(self, point: ArrayLike) -> bool:
        """Say whether a point keeps ``margin`` from all walls and lies in the maze."""
        position = np.asarray(point, dtype=np.float64)
        is_inside = bool((np.abs(position) < self.middle).all())
        return is_inside and not ((self.low < position) & (position < self.high)).all(axis=-1).any()

    def sees(self, starts: Points, ends: Points) -> NDArray[np.bool_]:
        """Say where no wall stands between two points: (..., 2), (..., 2) -> (...), the leading axes broadcast."""
        enter, leave = np.zeros(()), np.ones(())  # of the walls' stripes, as fractions of the segment
        for axis in range(2):
            origin = starts[..., axis, None]
            along = ends[..., axis, None] - origin
            low, high = self.low[:, axis] - origin, self.high[:, axis] - origin  # (..., W)
            # A segment that does not move along an axis is in a stripe all the way, or never.
            rate = np.where(along == 0, np.finfo(np.float64).tiny, along)
            with np.errstate(over="ignore"):
                near, far = low / rate, high / rate
            enter = np.maximum(enter, np.minimum(near, far))
            leave = np.minimum(leave, np.maximum(near, far))
        return np.asarray(~(enter < leave).any(axis=-1))

    def lengths(self, starts: Points, ends: Points) -> NDArray[np.float64]:
        """Return the length of each shortest way, infinite where there is none: (n, 2), (n, 2) -> (n,)."""
        lengths = self._straight(starts, ends)
        if (is_hidden := np.isinf(lengths)).any() and len(self.turns):
            lengths[is_hidden] = self._around(starts[is_hidden], ends[is_hidden]).min(axis=1)
        return lengths

    def next_point(self, start: Points, end: Points) -> Points:
        """Return where the shortest way bends first, or its end: (2,), (2,) -> (2,)."""
        around = self._around(start[None], end[None])[0]  # (K,)
        around[np.linalg.norm(self.turns - start, axis=-1) < ROUNDING] = np.inf  # a bend that is reached
        if self._straight(start[None], end[None])[0] <= around.min():
            return end
        return self.turns[around.argmin()]

    def _straight(self, starts: Points, ends: Points) -> NDArray[np.float64]:
        """Return the straight distance of each pair, infinite where a wall stands between: -> (n,)."""
        return np.where(self.sees(starts, ends), np.linalg.norm(starts - ends, axis=-1), np.inf)

    def _around(self, starts: Points, ends: Points) -> NDArray[np.float64]:
        """Return the length of the shortest way whose first bend is each turn: -> (n, K)."""
        goals, which = np.unique(ends, axis=0, return_inverse=True)  # mostly one goal for all
        onward = (self.between + self._to_turns(goals)[:, None]).min(axis=-1)  # (G, K)
        return self._to_turns(starts) + onward[which.reshape(-1)]

    def _to_turns(self, points: Points) -> NDArray[np.float64]:
        """Return the straight distance to each turn, infinite where a wall stands between: (n, 2) -> (n, K)."""
        away = np.linalg.norm(points[:, None] - self.turns, axis=-1)
        return np.where(self.sees(points[:, None], self.turns), away, np.inf)

    def _centres(self, chosen: NDArray[np.bool_]) -> Points:
        """Return the centres of some squares, (n, 2)."""
        row, column = np.nonzero(chosen)
        return np.stack([column + 0.5 - self.middle[0], self.middle[1] - row - 0.5], axis=-1)

    def _turns(self, bend: float) -> Points:
        """Return a point off each corner where one wall stands against three free squares."""
        points = []
        for row in range(1, self.walls.shape[0]):
            for column in range(1, self.walls.shape[1]):
                square = self.walls[row - 1 : row + 1, column - 1 : column + 1]
                if square.sum() == 1:
                    wall_row, wall_column = np.argwhere(square)[0]
                    away = np.array([1 - 2 * wall_column, 2 * wall_row - 1])  # from the wall, (x, y)
                    points.append(np.array([column, -row]) + [-1, 1] * self.middle + bend * away)
        return np.array(points).reshape(-1, 2)


def _rectangles(walls: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Cover walls with few rectangles: the first row, the row past the last, and the columns likewise, of each."""
    is_open = walls.copy()
    found = []
    while is_open.any():
        top, left = (int(place) for place in np.argwhere(is_open)[0])
        right = left
        while right < walls.shape[1] and walls[top, right]:
            right += 1
        bottom = top
        while bottom < walls.shape[0] and walls[bottom, left:right].all():
            bottom += 1
        is_open[top:bottom, left:right] = False
        found.append((top, bottom, left, right))
    return found


def _shortest(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lengths of shortest paths in a graph, (K, K) -> (K, K) (Floyd and Warshall)."""
    shortest = lengths.copy()
    for via in range(len(shortest)):
        shortest = np.minimum(shortest, shortest[:, via, None] + shortest[via])
    return shortest
