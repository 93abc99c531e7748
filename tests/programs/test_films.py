"""Films: each agent above or beside its own goal, at any size of image."""

import av
import numpy as np
import pytest
from PIL import Image

from jepa.programs.films import GAP_PX, draw_films, enlarge, write_films


def film(frames: int, side: int, shade: int):
    pixels = np.full((frames, side, side, 3), shade, np.uint8)
    return pixels + np.arange(frames, dtype=np.uint8)[:, None, None, None], np.full(
        (side, side, 3), 255 - shade, np.uint8
    )


def test_an_episode_that_ends_earlier_holds_its_last_frame():
    pages = draw_films([film(2, 8, 10), film(4, 8, 50)])
    assert pages.shape == (4, 8 + GAP_PX + 8, 8 + GAP_PX + 8, 3)
    assert pages[:, 0, 0, 0].tolist() == [10, 11, 11, 11]
    assert pages[:, 0, -1, 0].tolist() == [50, 51, 52, 53]
    assert (pages[:, -1, 0, 0] == 245).all() and (pages[:, -1, -1, 0] == 205).all()
    assert (pages[:, 8 : 8 + GAP_PX] == 255).all() and (pages[:, :, 8 : 8 + GAP_PX] == 255).all()


@pytest.mark.parametrize(("side", "times"), [(16, 8), (64, 2), (65, 2), (128, 1), (129, 1), (300, 1)])
def test_pixels_are_repeated_until_they_are_seen(side, times):
    frames = np.random.default_rng(0).integers(256, size=(2, side, side, 3), dtype=np.uint8)
    large = enlarge(frames)
    assert large.shape == (2, side * times, side * times, 3)
    assert np.array_equal(large[:, ::times, ::times], frames)
    assert np.array_equal(large[:, times - 1 :: times, times - 1 :: times], frames)


def test_odd_sizes_can_be_watched(tmp_path):
    gif = write_films([film(3, 129, 20)], tmp_path / "new", "odd")
    with av.open(str(tmp_path / "new" / "odd-00.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 3 and frames[0].shape == (130, 262, 3)  # 129 + 4 + 129
    assert abs(int(frames[2][60, 60, 0]) - 22) < 8 and abs(int(frames[2][60, 200, 0]) - 235) < 8
    with Image.open(gif) as pages:
        assert (pages.n_frames, pages.size) == (3, (129, 129 + 4 + 129))
