"""Clips in time, on paper: no file is needed."""

import numpy as np
import pytest
import torch

from jepa.data.sampling import ClipShape, clip_indices, clip_places, frame_range


def at(times, shape, places, **bounds):
    return clip_indices(np.asarray(times, dtype=float), shape, places, **bounds).tolist()


def test_stride():
    assert at(np.arange(10) / 8, ClipShape(3, stride=2), [0.0]) == [[0, 2, 4]]


def test_stride_reaches_the_last_frame_and_no_further():
    starts = {at(np.arange(10), ClipShape(3, stride=2), [place])[0][0] for place in np.linspace(0, 0.999, 50)}
    assert starts == set(range(6))


def test_fps_halves_a_rate():
    assert at(np.arange(20) / 20, ClipShape(4, fps=5), [0.0]) == [[0, 4, 8, 12]]


def test_fps_repeats_frames_of_a_slow_file():
    assert at(np.arange(4) / 2, ClipShape(6, fps=4), [0.0]) == [[0, 0, 1, 1, 2, 2]]


def test_fps_takes_what_is_on_screen_at_a_variable_rate():
    assert at([0, 0.1, 0.2, 1.0, 1.1], ClipShape(4, fps=4), [0.0]) == [[0, 2, 2, 2]]


def test_fps_is_not_put_off_by_times_rounded_to_milliseconds():
    times = np.round(np.arange(90) / 30, 3)
    assert at(times, ClipShape(30, fps=30), [0.0]) == [list(range(30))]


@pytest.mark.parametrize("shape", [ClipShape(5, stride=2), ClipShape(5, fps=4)])
def test_short_video_repeats_its_last_frame(shape):
    assert at(np.arange(3) / 8, shape, [0.7]) == [[0, 2, 2, 2, 2]]


def test_one_frame():
    assert at([0.0], ClipShape(3, fps=4), [0.5]) == [[0, 0, 0]]


@pytest.mark.parametrize("shape", [ClipShape(4, stride=3), ClipShape(4, fps=3), ClipShape(40, fps=8)])
def test_bounds_are_kept(shape):
    indices = torch.tensor(at(np.arange(50) / 10, shape, [0.0, 0.3, 0.999], start=12, end=31))
    assert indices.min() >= 12 and indices.max() < 31
    assert (indices.diff(dim=1) >= 0).all()


def test_centre_clip_without_jitter():
    places = clip_places(1, jitter=False, generator=torch.Generator())
    assert at(np.arange(11), ClipShape(3, stride=1), places) == [[4, 5, 6]]


def test_jittered_clips_spread_over_the_video():
    places = clip_places(4, jitter=True, generator=torch.Generator().manual_seed(0))
    assert [int(place * 4) for place in places] == [0, 1, 2, 3]


def test_places_depend_on_the_generator_alone():
    first, again, other = (
        clip_places(3, jitter=True, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_end_past_the_video_is_cut():
    assert frame_range(20, start=5, end=99) == (5, 20)


def test_start_past_the_video():
    with pytest.raises(
        ValueError, match="the list asks for frames 30 to the end, but the video has 20 frames"
    ):
        frame_range(20, start=30, end=None)


def test_one_rate():
    with pytest.raises(ValueError, match="exactly one of fps and stride"):
        ClipShape(4, fps=4, stride=2)
