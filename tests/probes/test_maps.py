import numpy as np
import pytest
import torch

from jepa.probes.maps import draw_maps, pca_maps
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
