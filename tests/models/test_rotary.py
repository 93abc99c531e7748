"""Rotary tables, and the rotation by them."""

import pytest
import torch

from jepa.models.rotary import rotary, rotate, rotate_pairs
from jepa.types import Grid


def test_rotation_keeps_lengths() -> None:
    x = torch.randn(2, 24, 3, 32)
    table = rotary(Grid(2, 3, 4), 32)
    torch.testing.assert_close(rotate(x, table).norm(dim=-1), x.norm(dim=-1))


def test_scores_depend_on_differences_of_positions_only() -> None:
    """The property rotary positions are named for: q . k is the same for every pair of tokens with one offset."""
    grid = Grid(4, 4, 4)
    query, key = torch.randn(32, dtype=torch.float64), torch.randn(32, dtype=torch.float64)
    table = rotary(grid, 32)
    q = rotate(query.expand(1, 64, 1, 32), table)[0, :, 0].view(4, 4, 4, 32)
    k = rotate(key.expand(1, 64, 1, 32), table)[0, :, 0].view(4, 4, 4, 32)
    scores = (q[:3, :2, 1:] * k[1:, 2:, :3]).sum(-1)  # offset (1, 2, -1), from every start
    torch.testing.assert_close(scores, scores[0, 0, 0].expand_as(scores), atol=1e-5, rtol=1e-5)


def test_each_axis_turns_its_own_third() -> None:
    table = rotary(Grid(2, 2, 2), 32)
    moved = [(table.cos[step] != table.cos[0]).nonzero().flatten() // 10 for step in (4, 2, 1)]
    assert [set(third.tolist()) for third in moved] == [{0}, {1}, {2}]


def test_the_released_layout_is_that_of_the_release() -> None:
    """V-JEPA 2's code, axis by axis: frequencies side by side twice, channels turned in neighbouring pairs."""
    grid, width = Grid(2, 3, 4), 32
    x = torch.randn(2, 24, width)
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
    grid, x = Grid(2, 3, 4), torch.randn(1, 24, 1, 32)
    paired, released = (rotate(x, rotary(grid, 32, layout=layout)) for layout in ("paired", "released"))
    assert not torch.allclose(paired, released)


@pytest.mark.parametrize("layout", ["paired", "released"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("heads", [(3,), (2, 3)])
def test_pairs_as_complex_numbers_rotate_alike(layout, dtype, heads):
    """Values and gradients of the fast way are those of the one that reads as the formula."""
    grid, width = Grid(2, 3, 4), 32
    index = torch.stack([torch.randperm(grid.tokens)[:9] for _ in range(2)])
    table = rotary(grid, width, layout=layout)
    for tokens, one in ((24, table), (9, table.take(index))):
        x = torch.randn(2, tokens, *heads, width, dtype=dtype, requires_grad=True)
        fast, plain = rotate(x, one), rotate_pairs(x, one)
        torch.testing.assert_close(fast, plain, atol=1e-6, rtol=1e-6)
        back = torch.randn_like(x)
        gradients = [torch.autograd.grad(out, x, back)[0] for out in (fast, plain)]
        torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-6)


def test_channels_beyond_the_axes_stay_as_they_are():
    x = torch.randn(1, 24, 1, 64)
    torch.testing.assert_close(rotate(x, rotary(Grid(2, 3, 4), 64))[..., 60:], x[..., 60:], atol=0, rtol=0)


def test_bfloat16_rotates_within_its_rounding():
    x, table = torch.randn(2, 24, 3, 32), rotary(Grid(2, 3, 4), 32)
    low = rotate(x.bfloat16(), table)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), rotate(x, table), atol=0.05, rtol=0.02)


def test_a_head_of_odd_width_is_rotated_too():
    x = torch.randn(1, 24, 1, 31)
    out = rotate(x, rotary(Grid(2, 3, 4), 31))
    torch.testing.assert_close(out[..., 30:], x[..., 30:], atol=0, rtol=0)
    torch.testing.assert_close(out.norm(dim=-1), x.norm(dim=-1))
