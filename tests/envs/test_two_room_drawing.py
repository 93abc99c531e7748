"""Positions can be read from the images to a fraction of a pixel."""

import numpy as np
import pytest

from jepa.envs.two_room import sample_state
from jepa.envs.two_room_drawing import DISC, FLOOR, WALL, draw_rooms
from jepa.envs.two_room_world import DOOR, RADIUS, THICKNESS

SIZES = [16, 32, 64, 224]


def centroid(image, empty):
    """Middle of what differs from the empty room, in pixels from the corner."""
    weight = np.abs(image.astype(float) - empty.astype(float)).sum(axis=-1)
    middles = np.arange(len(image)) + 0.5
    return (
        np.array([(weight.sum(axis=0) * middles).sum(), (weight.sum(axis=1) * middles).sum()]) / weight.sum()
    )


def rooms(count, seed=0, layout=(0.5, 0.5)):
    generator = np.random.default_rng(seed)
    xy = generator.uniform(RADIUS, 0.44, (count, 2)) + generator.integers(0, 2, (count, 2)) * [0.52, 0.5]
    return np.concatenate([xy, np.tile(layout, (count, 1))], axis=1)


@pytest.mark.parametrize("size", SIZES)
def test_the_disc_is_drawn_where_it_is(size):
    states = rooms(100)
    states[:, 0] = np.where(
        states[:, 0] < 0.5, states[:, 0] * 0.9, states[:, 0] * 0.9 + 0.06
    )  # clear of the wall
    states[:, 0] = np.clip(states[:, 0], RADIUS + 1 / size, 1 - RADIUS - 1 / size)
    states[:, 1] = np.clip(states[:, 1], RADIUS + 1 / size, 1 - RADIUS - 1 / size)
    far = np.array([[0.9, 0.9, 0.5, 0.5], [0.1, 0.1, 0.5, 0.5]])
    empty = np.maximum(*draw_rooms(far, size)[..., 1:2])  # the disc has no green and blue: the lighter of two
    images = draw_rooms(states, size)[..., 1:2]
    found = np.stack([centroid(image, empty) for image in images])
    np.testing.assert_allclose(found, states[:, :2] * size, atol=0.1)


@pytest.mark.parametrize("size", SIZES)
def test_a_tenth_of_a_pixel_is_seen(size):
    states = rooms(50, seed=1)
    for axis in (0, 1):
        moved = states.copy()
        moved[:, axis] += 0.1 / size * np.where(states[:, axis] < 0.5, 1, -1)
        same = (draw_rooms(states, size) == draw_rooms(moved, size)).all(axis=(1, 2, 3))
        assert not same.any()


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_is_a_loop(size):
    generator = np.random.default_rng(2)
    states = [sample_state(generator, None, is_shifted=i % 3 > 0, is_across=True) for i in range(20)]
    np.testing.assert_array_equal(
        draw_rooms(np.stack(states), size), [draw_rooms(state[None], size)[0] for state in states]
    )


@pytest.mark.parametrize("layout", [(0.5, 0.5), (0.37, 0.23), (0.648, 0.79)])
@pytest.mark.parametrize("size", SIZES)
def test_walls_cover_their_area_at_their_place(size, layout):
    images = draw_rooms(rooms(2, layout=layout) * [0.2, 1, 1, 1] + [0.05, 0, 0, 0], size)
    dark = (FLOOR - images[0].astype(float)) / (FLOOR - WALL)
    dark = dark[:, int(0.2 * size) :].mean(axis=-1)  # right of the disc
    assert dark.sum() / size**2 == pytest.approx(THICKNESS * (1 - 2 * DOOR), rel=0.02)
    middles = (np.arange(size) + 0.5) / size
    found = (dark.sum(axis=0) * middles[int(0.2 * size) :]).sum() / dark.sum()
    blur = max(0.1, (1 - THICKNESS * size) / 2)  # a wall within one pixel may be anywhere in it
    assert found == pytest.approx(layout[0], abs=blur / size)
    open_rows = dark.max(axis=1).max() - dark.max(axis=1)
    assert (open_rows * middles).sum() / open_rows.sum() == pytest.approx(layout[1], abs=0.1 / size)


def test_colours_are_those_of_the_palette():
    image = draw_rooms(np.array([[0.25, 0.25, 0.5, 0.5]]), 128)[0]
    for colour in (DISC, WALL, np.full(3, FLOOR)):
        assert (image == colour).all(axis=-1).any()


def test_no_images_are_no_images():
    assert draw_rooms(np.zeros((0, 4)), 32).shape == (0, 32, 32, 3)
