"""Ways around walls are the shortest that there are."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from jepa.envs.maze_paths import MazePaths

MAZE = [
    "########",
    "#..##..#",
    "#..#...#",
    "##...###",
    "#..#...#",
    "#.#..#.#",
    "#...#..#",
    "########",
]
MARGIN = 0.1


@pytest.fixture(scope="module")
def paths():
    return MazePaths([[square == "#" for square in row] for row in MAZE], margin=MARGIN)


def draw(paths, count, seed):
    generator = np.random.default_rng(seed)
    return generator.choice(paths.centres, count) + generator.uniform(-0.4, 0.4, (count, 2))


def is_free(points):
    """Whether points keep the margin from all walls, from the text of the maze alone."""
    is_wall = np.array([[square == "#" for square in row] for row in MAZE])
    free = np.ones(len(points), bool)
    for corner in itertools.product((-1, 1), repeat=2):
        x, y = (points + np.array(corner) * (MARGIN - 1e-9)).T
        free &= ~is_wall[np.floor(4 - y).astype(int), np.floor(x + 4).astype(int)]
    return free


def test_no_way_over_a_fine_grid_is_shorter_and_the_best_is_hardly_longer(paths):
    step, half = 0.1, 38
    index = np.arange(2 * half + 1)
    points = np.stack(np.meshgrid(index, index, indexing="ij"), axis=-1).reshape(-1, 2) * step - half * step
    free = is_free(points)
    number = np.arange(len(points)).reshape(len(index), len(index))
    edges = []
    for across, along in itertools.product(range(-2, 3), range(-2, 3)):
        if np.gcd(across, along) == 1:
            a = number[
                max(0, -across) : len(index) - max(0, across), max(0, -along) : len(index) - max(0, along)
            ].ravel()
            b = a + across * len(index) + along
            middle = [(points[a] * (1 - part) + points[b] * part) for part in np.arange(1, 20) / 20]
            is_open = free[a] & free[b] & np.all([is_free(between) for between in middle], axis=0)
            edges.append(
                (a[is_open], b[is_open], np.full(is_open.sum(), step * float(np.hypot(across, along))))
            )
    start, end, weight = (np.concatenate(part) for part in zip(*edges, strict=True))
    graph = csr_matrix((weight, (start, end)), shape=(len(points),) * 2)
    places = np.random.default_rng(0).choice(np.flatnonzero(free), 12, replace=False)
    on_grid = dijkstra(graph, indices=places)[:, places]
    pairs = np.array([(i, j) for i in range(12) for j in range(12) if i != j])
    ours = paths.lengths(points[places[pairs[:, 0]]], points[places[pairs[:, 1]]])
    theirs = on_grid[pairs[:, 0], pairs[:, 1]]
    assert (ours <= theirs + 1e-9).all()
    # Directions of a grid with 16 neighbours are at most 2.8 % longer than straight ones.
    assert (theirs <= ours * 1.028 + 1e-9).all()


def test_lengths_are_a_metric(paths):
    a, b, c = (draw(paths, 60, seed) for seed in range(3))
    np.testing.assert_allclose(paths.lengths(a, b), paths.lengths(b, a))
    assert (paths.lengths(a, c) <= paths.lengths(a, b) + paths.lengths(b, c) + 1e-9).all()
    assert (paths.lengths(a, b) >= np.linalg.norm(a - b, axis=1) - 1e-9).all()
    np.testing.assert_allclose(paths.lengths(a, a), 0, atol=1e-12)


def test_many_at_once_equal_one_by_one(paths):
    a, b = draw(paths, 20, 0), draw(paths, 20, 1)
    one_by_one = [paths.lengths(a[i : i + 1], b[i : i + 1])[0] for i in range(20)]
    np.testing.assert_allclose(paths.lengths(a, b), one_by_one)


def test_walking_from_bend_to_bend_takes_the_length(paths):
    for start, end in zip(draw(paths, 20, 3), draw(paths, 20, 4), strict=True):
        walked, here = 0.0, start
        for _ in range(20):
            there = paths.next_point(here, end)
            walked += float(np.linalg.norm(there - here))
            here = there
            if np.array_equal(here, end):
                break
        assert walked == pytest.approx(paths.lengths(start[None], end[None])[0])


def test_an_axis_parallel_segment_along_a_wall_is_seen(paths):
    along = np.array([[-2.9, 2.9], [-1.6, 2.9]])
    assert paths.sees(along[0], along[1])
    assert not paths.sees(np.array([-2.5, 2.5]), np.array([2.5, 2.5]))
    assert not paths.sees(np.array([-2.5, 2.5]), np.array([-2.5, -2.5]))


def test_free_is_what_lies_off_the_walls(paths):
    points = np.random.default_rng(0).uniform(-4, 4, (500, 2))
    squares = [MAZE[int(4 - y)][int(x + 4)] for x, y in points]
    for point, square in zip(points, squares, strict=True):
        if square == "#":
            assert not paths.is_free(point)
    assert all(paths.is_free(centre) for centre in paths.centres)
    assert not paths.is_free([7.0, 0.0])
