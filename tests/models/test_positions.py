"""Rotary tables and sin-cos embeddings."""

import torch

from jepa.models.positions import Positions, rotary, rotate, sincos, sincos_2d
from jepa.types import Grid


def test_rotation_keeps_lengths() -> None:
    x = torch.randn(2, 3, 24, 32)
    table = rotary(Grid(2, 3, 4), 32)
    torch.testing.assert_close(rotate(x, table).norm(dim=-1), x.norm(dim=-1))


def test_scores_depend_on_differences_of_positions_only() -> None:
    """The property rotary positions are named for: q . k is the same for every pair of tokens with one offset."""
    grid = Grid(4, 4, 4)
    query, key = torch.randn(32, dtype=torch.float64), torch.randn(32, dtype=torch.float64)
    table = rotary(grid, 32)
    q = rotate(query.expand(1, 1, 64, 32), table)[0, 0].view(4, 4, 4, 32)
    k = rotate(key.expand(1, 1, 64, 32), table)[0, 0].view(4, 4, 4, 32)
    scores = (q[:3, :2, 1:] * k[1:, 2:, :3]).sum(-1)  # offset (1, 2, -1), from every start
    torch.testing.assert_close(scores, scores[0, 0, 0].expand_as(scores), atol=1e-5, rtol=1e-5)


def test_each_axis_turns_its_own_third() -> None:
    table = rotary(Grid(2, 2, 2), 32)
    moved = [(table.cos[step] != table.cos[0]).nonzero().flatten() // 10 for step in (4, 2, 1)]
    assert [set(third.tolist()) for third in moved] == [{0}, {1}, {2}]


def test_sincos_positions_differ_and_fit_the_width() -> None:
    for width in (96, 100, 48):
        table = sincos(Grid(3, 4, 5), width)
        assert table.shape == (60, width)
        assert len(table.unique(dim=0)) == 60


def test_the_released_layout_is_that_of_the_release() -> None:
    """V-JEPA 2's code, axis by axis: frequencies side by side twice, channels turned in neighbouring pairs."""
    grid, width = Grid(2, 3, 4), 32
    x = torch.randn(2, 1, 24, width)
    places = [
        torch.tensor([[t, y, x] for t in range(2) for y in range(3) for x in range(4)])[:, a]
        for a in range(3)
    ]
    part = 2 * (width // 3 // 2)
    wanted = x.clone()
    for axis, place in enumerate(places):
        piece = x[..., axis * part : (axis + 1) * part]
        omega = 1 / 10_000 ** (torch.arange(part // 2) / (part / 2))
        angle = (place[:, None] * omega).repeat(1, 2)  # (N, part)
        across = torch.stack((-piece[..., 1::2], piece[..., ::2]), dim=-1).flatten(-2)
        wanted[..., axis * part : (axis + 1) * part] = piece * angle.cos() + across * angle.sin()
    torch.testing.assert_close(rotate(x, rotary(grid, width, layout="released")), wanted)


def test_the_released_layout_is_another_one() -> None:
    grid, x = Grid(2, 3, 4), torch.randn(1, 1, 24, 32)
    paired, released = (rotate(x, rotary(grid, 32, layout=layout)) for layout in ("paired", "released"))
    assert not torch.allclose(paired, released)


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
