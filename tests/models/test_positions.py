"""Rotary positions of other grids, and sin-cos embeddings."""

import torch

from jepa.models.positions import Positions, sincos, sincos_2d
from jepa.types import Grid


def test_sincos_positions_differ_and_fit_the_width() -> None:
    for width in (96, 100, 48):
        table = sincos(Grid(3, 4, 5), width)
        assert table.shape == (60, width)
        assert len(table.unique(dim=0)) == 60


def test_rotary_positions_of_another_grid_keep_the_extent_of_the_frame() -> None:
    positions = Positions("rotary", trained=Grid(2, 4, 4))
    fine = positions.rotary(Grid(2, 8, 8), 32)
    own = positions.rotary(Grid(2, 4, 4), 32)
    assert fine is not None and own is not None
    every_other = fine.cos.view(2, 8, 8, -1)[:, ::2, ::2].flatten(0, 2)
    torch.testing.assert_close(every_other, own.cos)


def test_sincos_of_images_is_that_of_ijepa() -> None:
    """The released code's order: columns first, then rows; in each, sines before cosines."""
    table = sincos_2d(Grid(1, 3, 5), 16)
    omega = 1 / 10_000 ** (torch.arange(4) / 4)
    row, column = 2, 4
    wanted = [f(place * omega) for place in (column, row) for f in (torch.sin, torch.cos)]
    torch.testing.assert_close(table[row * 5 + column], torch.cat(wanted))


def test_added_positions_are_interpolated_to_another_grid() -> None:
    positions = Positions("sincos", trained=Grid(4, 4, 4))
    trained = positions.added(Grid(4, 4, 4), 48)
    assert trained is not None
    torch.testing.assert_close(trained, sincos(Grid(4, 4, 4), 48))
    volume = trained.T.reshape(1, 48, 4, 4, 4)
    for scale, grid in (((1, 2, 2), Grid(4, 8, 8)), ((0.5, 1, 1), Grid(2, 4, 4))):
        wanted = torch.nn.functional.interpolate(volume, scale_factor=scale, mode="trilinear")
        torch.testing.assert_close(positions.added(grid, 48), wanted.flatten(2)[0].T)


def test_added_positions_of_images_are_interpolated_bicubically() -> None:
    positions = Positions("sincos-2d", trained=Grid(1, 4, 4))
    table = sincos_2d(Grid(1, 4, 4), 32).T.reshape(1, 32, 4, 4)
    wanted = torch.nn.functional.interpolate(table, scale_factor=1.5, mode="bicubic").flatten(2)[0].T
    torch.testing.assert_close(positions.added(Grid(1, 6, 6), 32), wanted)
