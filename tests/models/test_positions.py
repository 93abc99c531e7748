"""Rotary tables and sin-cos embeddings."""

import torch

from jepa.models.positions import rotary, rotate, sincos
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
