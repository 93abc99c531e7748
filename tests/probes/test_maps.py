import numpy as np
import pytest
import torch
from PIL import Image

from jepa.errors import DataError
from jepa.probes.maps import animate_maps, draw_maps, pca_maps
from jepa.types import Grid


def test_tokens_of_one_kind_have_one_colour_in_every_clip(generator):
    kinds = torch.randn(3, 32, generator=generator)
    which = torch.randint(0, 3, (2, 24), generator=generator)
    maps = pca_maps(kinds[which], Grid(2, 3, 4)).view(-1, 3)
    colours = [maps[which.flatten() == kind].unique(dim=0) for kind in range(3)]
    assert all(len(colour) == 1 for colour in colours)
    assert len({tuple(colour[0].tolist()) for colour in colours}) == 3


def test_first_colour_follows_the_first_component_in_token_order():
    ramp = torch.linspace(-1, 1, 24)[None, :, None] * torch.tensor([5.0, 1, 0, 0])
    maps = pca_maps(ramp, Grid(2, 3, 4))
    assert maps.shape == (1, 2, 3, 4, 3)
    red = maps[..., 0].flatten().int()
    assert (red.diff() >= 0).all() and red[0] == 0 and red[-1] == 255


def test_equal_tokens_and_narrow_ones_are_no_trouble():
    assert pca_maps(torch.ones(1, 8, 16), Grid(2, 2, 2)).dtype == torch.uint8
    assert pca_maps(torch.randn(1, 8, 2), Grid(2, 2, 2)).shape == (1, 2, 2, 2, 3)


def test_does_not_depend_on_the_sign_of_an_axis_or_run(generator):
    tokens = torch.randn(2, 8, 16, generator=generator)
    assert torch.equal(pca_maps(tokens, Grid(2, 2, 2)), pca_maps(tokens.clone(), Grid(2, 2, 2)))


def test_refuses_another_grid():
    with pytest.raises(ValueError, match="8 tokens do not fit a grid"):
        pca_maps(torch.ones(1, 8, 16), Grid(2, 2, 3))


def test_picture_puts_each_map_under_its_frame():
    frames = torch.zeros(3, 4, 8, 8, 3, dtype=torch.uint8)
    maps = torch.zeros(3, 2, 2, 2, 3, dtype=torch.uint8)
    for clip in range(3):
        for step in range(2):
            frames[clip, 2 * step : 2 * step + 2] = 50 * clip + 20 * step + 10
            maps[clip, step] = 50 * clip + 20 * step + 15
    picture = np.asarray(draw_maps(frames, maps, side_px=16))[..., 0].astype(int)
    seen = [value for value in np.unique(picture) if value != 255]
    assert seen == sorted(50 * c + 20 * s + o for c in range(3) for s in range(2) for o in (10, 15))
    for value in seen[::2]:
        frame, below = np.argwhere(picture == value), np.argwhere(picture == value + 5)
        assert len(frame) == len(below) == 16 * 16
        assert (below[:, 1] == frame[:, 1]).all() and (below[:, 0] - frame[:, 0] == 20).all()


def test_long_clips_stand_in_one_column():
    frames, maps = (
        torch.zeros(2, 8, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(2, 8, 2, 2, 3, dtype=torch.uint8),
    )
    picture = draw_maps(frames, maps)
    assert picture.width <= 960 and picture.height > 2 * 2 * 96


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_animation_shows_each_frame_beside_the_map_of_its_step(tmp_path, ending):
    frames = torch.zeros(2, 6, 8, 12, 3, dtype=torch.uint8)
    maps = torch.zeros(2, 3, 2, 3, 3, dtype=torch.uint8)
    for clip in range(2):
        for at in range(6):
            frames[clip, at] = 100 * clip + 10 * at + 5
            maps[clip, at // 2] = 100 * clip + 20 * (at // 2) + 60
    path = animate_maps(frames, maps, tmp_path / f"maps.{ending}", fps=4, side_px=16)
    assert path.stat().st_size < 20_000
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size) == (6, (2 * 24 + 4, 2 * 16 + 4))
        assert picture.info["loop"] == 0
        for at in range(6):
            picture.seek(at)
            page = np.asarray(picture.convert("RGB")).astype(int)
            assert picture.info["duration"] == 250
            for clip, rows in enumerate((slice(0, 16), slice(20, 36))):
                left, right = page[rows, :24], page[rows, 28:]
                assert (np.abs(left - (100 * clip + 10 * at + 5)) <= 1).all()
                assert (np.abs(right - (100 * clip + 20 * (at // 2) + 60)) <= 1).all()


def test_animation_refuses_what_does_not_fit(tmp_path):
    frames, maps = (
        torch.zeros(1, 6, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(1, 4, 2, 2, 3, dtype=torch.uint8),
    )
    with pytest.raises(DataError, match=r"1 clips of 6 frames do not fit 1 clips of maps with 4 steps; give"):
        animate_maps(frames, maps, tmp_path / "maps.gif")
    with pytest.raises(DataError, match=r"maps.mp4: an animation must end in .gif or .png"):
        animate_maps(frames, maps[:, :3], tmp_path / "maps.mp4")
    assert not list(tmp_path.iterdir())
