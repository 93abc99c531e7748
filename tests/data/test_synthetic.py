"""Masks, places and labels against the rendered pixels; the pixels against those of earlier versions."""

import csv
import hashlib

import numpy as np
import pytest

from jepa.data.synthetic import (
    APPEARANCES,
    MOTIONS,
    PLACES,
    centres,
    labels,
    next_place,
    render,
    shape_mask,
    write_dataset,
)

# sha256 of the frames of clips 0 to 63, seed 3, 5 frames, 32 pixels. Another value needs another
# `jepa.data.generated.VERSION`: folders that users have written hold these pixels.
PIXELS = "01bca38eb903b18f461437166bdcdaa0d5fbb0244ef455bb7f89846a37f4a39a"
SETTINGS = {"seed": 3, "frames": 5, "size": 32}


def read(path):
    return list(csv.reader(path.read_text().splitlines()))


def circular_mean(weights):
    """The mean place of the mass of (T, S) rows on a circle of S pixels."""
    size = weights.shape[1]
    turned = (weights * np.exp(2j * np.pi * np.arange(size) / size)).sum(axis=1)
    return np.angle(turned) / (2 * np.pi) * size % size


def test_pixels_are_those_of_earlier_versions():
    seen = hashlib.sha256()
    for index in range(64):
        seen.update(render(index, **SETTINGS).frames.tobytes())
    assert seen.hexdigest() == PIXELS


@pytest.mark.parametrize("index", range(16))
def test_mask_says_which_pixels_have_the_colours_of_the_shape(index):
    frames = render(index, **SETTINGS).frames.astype(float) / 255
    cover = shape_mask(index, **SETTINGS)
    assert cover.shape == (5, 32, 32) and cover.dtype == np.float32
    assert cover.min() == 0 and cover.max() == 1
    # The background is bluer than it is red by 0.18 or more; the shape is redder than blue everywhere.
    redness = frames[..., 0] - frames[..., 2]
    assert (redness[cover == 1] > 0.2).all()
    assert (redness[cover == 0] < -0.15).all()


@pytest.mark.parametrize("index", range(8))
def test_half_covered_pixels_have_colours_between_background_and_shape(index):
    frames = render(index, **SETTINGS).frames.astype(float) / 255
    cover = shape_mask(index, **SETTINGS)
    red_minus_blue = frames[..., 0] - frames[..., 2]
    edge = (cover > 0.3) & (cover < 0.7)
    assert edge.any()
    assert red_minus_blue[edge].mean() > red_minus_blue[cover == 0].mean() + 0.1
    assert red_minus_blue[edge].mean() < red_minus_blue[cover == 1].mean() - 0.1


@pytest.mark.parametrize("index", range(12))
def test_centre_is_the_middle_of_the_mask_on_the_torus(index):
    cover = shape_mask(index, **SETTINGS).astype(float)
    place = centres(index, **SETTINGS)
    assert place.shape == (5, 2) and (place >= 0).all() and (place < 32).all()
    for axis, mass in ((0, cover.sum(axis=1)), (1, cover.sum(axis=2))):
        gap = (circular_mean(mass) - place[:, axis] + 16) % 32 - 16
        assert np.abs(gap).max() < 0.2


def test_centre_moves_as_the_motion_says():
    for index in range(32):
        place = centres(index, seed=1, frames=4, size=64)
        step = ((place[1:] - place[:-1] + 32) % 64 - 32).mean(axis=0)
        angle = labels(index, seed=1)[1] * np.pi / 4
        np.testing.assert_allclose(step / np.linalg.norm(step), [np.cos(angle), np.sin(angle)], atol=1e-9)


def test_next_is_the_ninth_of_the_last_frame_with_the_centre():
    for index in range(40):
        last = shape_mask(index, **SETTINGS)[-1:].astype(float)
        column, row = (circular_mean(last.sum(axis=axis))[0] + 0.5 for axis in (1, 2))
        edge = min(abs((value * 3 / 32) % 1 - whole) for value in (column, row) for whole in (0, 1))
        if edge < 0.03:  # the middle of the mass is only nearly the centre
            continue
        name = PLACES[next_place(index, **SETTINGS)]
        words = [
            ("top", "", "bottom")[int(row % 32 * 3 / 32)],
            ("left", "", "right")[int(column % 32 * 3 / 32)],
        ]
        assert name == ("-".join(word for word in words if word) or "centre")


def test_next_is_spread_over_all_places_and_is_not_told_by_the_motion():
    table = np.zeros((len(MOTIONS), len(PLACES)))
    for index in range(2048):
        table[labels(index, seed=0)[1], next_place(index, seed=0, frames=8, size=32)] += 1
    assert (np.abs(table.sum(axis=0) / 2048 - 1 / 9) < 0.03).all()
    assert (table.max(axis=1) / table.sum(axis=1) < 0.2).all()


def test_first_half_does_not_hold_the_place_but_place_and_motion_do():
    """The place at half time seldom is the last one: what sees it must extrapolate."""
    same = straight = 0
    for index in range(300):
        place = centres(index, seed=5, frames=16, size=64)
        final = next_place(index, seed=5, frames=16, size=64)
        step = (place[7] - place[6] + 32) % 64 - 32
        for guess, is_straight in ((place[7], False), (place[7] + 8 * step, True)):
            column, row = (int((value + 0.5) % 64 * 3 / 64) for value in guess)
            if is_straight:
                straight += 3 * row + column == final
            else:
                same += 3 * row + column == final
    assert straight == 300 and same < 60


def test_a_written_set_has_a_list_for_every_label_in_the_order_of_the_clips(tmp_path):
    write_dataset(tmp_path, train=3, test=2, seed=4, frames=2, size=16)
    for split, count, seed in (("train", 3, 4), ("test", 2, 4 + 1_000_003)):
        wanted = {
            "motion": [MOTIONS[labels(index, seed=seed)[1]] for index in range(count)],
            "appearance": [APPEARANCES[labels(index, seed=seed)[0]] for index in range(count)],
            "next": [PLACES[next_place(index, seed=seed, frames=2, size=16)] for index in range(count)],
        }
        for label, values in wanted.items():
            rows = read(tmp_path / split / f"{label}.csv")
            assert rows == [[f"{index:06d}.mp4", value] for index, value in enumerate(values)]
            assert read(tmp_path / f"{split}-{label}.csv") == [
                [f"{split}/{name}", value] for name, value in rows
            ]
