"""Propagation against a slow reference, and on features whose right answer is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jepa.errors import DataError
from jepa.probes.dense import DenseSet
from jepa.probes.tracking import (
    Propagation,
    copied_labels,
    first_labels,
    propagate,
    token_shares,
    tracking_probe,
    tracking_score,
)
from jepa.types import Grid

GRID = Grid(4, 5, 5)


def moving(generator, clips=3):
    """Two things that walk over a torus of 5 x 5 cells: cell ids (n, t, h, w)."""
    cells = torch.zeros(clips, *GRID, dtype=torch.long)
    for clip in range(clips):
        start = torch.randint(0, 5, (2,), generator=generator).tolist()
        step = torch.randint(-2, 3, (2,), generator=generator).tolist()
        for t in range(GRID.time):
            for thing, (dy, dx) in ((1, (0, 0)), (1, (0, 1)), (2, (2, 2)), (2, (3, 2))):
                y, x = start[0] + t * step[0] + dy, start[1] + t * step[1] + dx
                cells[clip, t, y % 5, x % 5] = thing
    return cells


def as_set(cells, tokens, scale=1):
    pixels = cells.repeat_interleave(2, 1).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return DenseSet(tokens, pixels, GRID)


def reference(tokens, first, grid, how):
    """The same by loops over clips, steps and tokens."""
    n, per_step = len(tokens), grid.height * grid.width
    unit = tokens / np.linalg.norm(tokens, axis=2, keepdims=True)
    out = np.zeros((n, grid.tokens, first.shape[2]))
    for clip in range(n):
        out[clip, :per_step] = first[clip]
        for step in range(1, grid.time):
            steps = {0} | set(range(max(1, step - how.context), step))
            sources = [s * per_step + i for s in sorted(steps) for i in range(per_step)]
            for i in range(per_step):
                query = step * per_step + i
                near = sorted(sources, key=lambda s: -unit[clip, s] @ unit[clip, query])[: how.neighbours]
                weights = np.exp([unit[clip, s] @ unit[clip, query] / how.temperature for s in near])
                out[clip, query] = weights / weights.sum() @ out[clip, near]
    return out


@pytest.mark.parametrize(
    "how", [Propagation(), Propagation(3, 0.5, 1), Propagation(60, 0.2, 0), Propagation(1)]
)
def test_equals_a_slow_reference(generator, how):
    tokens = torch.randn(2, GRID.tokens, 6, generator=generator)
    first = torch.rand(2, 25, 3, generator=generator)
    wanted = reference(tokens.double().numpy(), first.double().numpy(), GRID, how)
    np.testing.assert_allclose(propagate(tokens, first, GRID, how), wanted, atol=1e-4)


def test_features_that_are_object_ids_track_exactly(generator):
    cells = moving(generator)
    data = as_set(cells, F.one_hot(cells.flatten(1), 3).float())
    score = tracking_probe(data, Propagation(neighbours=2))
    assert score.region_iou.value == 1 and score.by_step == (1, 1, 1)
    found = propagate(data.tokens, first_labels(data), GRID, Propagation(neighbours=2))
    assert found.argmax(dim=2).equal(cells.flatten(1))


def test_things_are_followed_across_the_border(generator):
    cells = torch.zeros(1, *GRID, dtype=torch.long)
    for t in range(4):
        cells[0, t, 2, (3 + t) % 5] = cells[0, t, 3, (3 + t) % 5] = 1
    data = as_set(cells, F.one_hot(cells.flatten(1), 2).float())
    assert tracking_probe(data, Propagation(neighbours=2)).region_iou.value == 1
    assert tracking_score(copied_labels(data), data).region_iou.value == 0


def test_copying_is_right_while_nothing_moves(generator):
    still = moving(generator)[:, :1].repeat(1, 4, 1, 1)
    data = as_set(still, torch.randn(3, GRID.tokens, 4, generator=generator))
    assert tracking_score(copied_labels(data), data).region_iou.value == 1
    assert tracking_probe(data).region_iou.value < 0.6


def test_clips_do_not_mix_and_portions_change_nothing(generator, monkeypatch):
    tokens, first = (
        torch.randn(4, GRID.tokens, 6, generator=generator),
        torch.rand(4, 25, 2, generator=generator),
    )
    together = propagate(tokens, first, GRID)
    alone = torch.cat([propagate(tokens[i : i + 1], first[i : i + 1], GRID) for i in range(4)])
    torch.testing.assert_close(together, alone)
    other = torch.cat([tokens[:1], torch.randn(3, GRID.tokens, 6, generator=generator)])
    torch.testing.assert_close(propagate(other, first, GRID)[0], together[0])
    monkeypatch.setattr("jepa.probes.tracking.SIMILARITIES_AT_ONCE", 1)
    torch.testing.assert_close(propagate(tokens, first, GRID), together)


def test_shares_stay_shares(generator):
    first = torch.rand(2, 25, 3, generator=generator).softmax(dim=2)
    found = propagate(torch.randn(2, GRID.tokens, 4, generator=generator), first, GRID)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(2, GRID.tokens))


def test_the_future_is_not_looked_at(generator):
    tokens, first = (
        torch.randn(2, GRID.tokens, 6, generator=generator),
        torch.rand(2, 25, 2, generator=generator),
    )
    later = tokens.clone()
    later[:, 75:] = torch.randn(2, 25, 6, generator=generator)
    torch.testing.assert_close(propagate(later, first, GRID)[:, :75], propagate(tokens, first, GRID)[:, :75])


def test_region_iou_by_hand(generator):
    """One thing of 2 cells; the answer of every later step is one of them and one beside it: 1 of 3."""
    cells = torch.zeros(2, *GRID, dtype=torch.long)
    cells[:, :, 1, 1:3] = 1
    answer = torch.zeros_like(cells)
    answer[:, :, 1, 2:4] = 1
    data = as_set(cells, torch.ones(2, GRID.tokens, 2))
    score = tracking_score(F.one_hot(answer.flatten(1), 2).float(), data)
    assert score.region_iou.value == pytest.approx(1 / 3)
    assert score.by_step == pytest.approx([1 / 3] * 3)
    assert score.region_iou.low == pytest.approx(1 / 3) and score.region_iou.high == pytest.approx(1 / 3)


def test_a_blurred_thing_is_still_found():
    """Where the background has most votes everywhere, the most likely place wins."""
    cells = torch.zeros(1, *GRID, dtype=torch.long)
    cells[:, :, 2, 2] = 1
    share = 0.4 * cells.flatten(1).float()
    score = tracking_score(
        torch.stack([1 - share, share], dim=2), as_set(cells, torch.ones(1, GRID.tokens, 1))
    )
    assert score.region_iou.value == 1


def test_a_thing_that_fills_the_frame_is_found():
    cells = torch.ones(1, *GRID, dtype=torch.long)
    data = as_set(cells, torch.ones(1, GRID.tokens, 1))
    assert tracking_probe(data).region_iou.value == 1


def test_exact_shares_are_as_good_as_tokens_get(generator):
    cells = moving(generator)
    data = as_set(cells, torch.randn(3, GRID.tokens, 4, generator=generator), scale=4)
    best = tracking_score(token_shares(data), data).region_iou.value
    assert tracking_probe(data).region_iou.value < best < 1


def test_refuses_bad_input(generator):
    tokens, first = (
        torch.randn(2, GRID.tokens, 6, generator=generator),
        torch.rand(2, 25, 2, generator=generator),
    )
    with pytest.raises(DataError, match="100 tokens per clip do not fit a grid of"):
        propagate(tokens, first, Grid(4, 5, 6))
    with pytest.raises(DataError, match=r"first labels must be \(2, 25, classes\).*got \(2, 24, 2\)"):
        propagate(tokens, first[:, :24], GRID)
    with pytest.raises(DataError, match="tokens of 1 of 2 clips hold NaN or infinity, first clip 1"):
        propagate(torch.cat([tokens[:1], tokens[1:] * torch.nan]), first, GRID)
    cells = moving(generator, clips=2)
    cells[1, 0] = 0
    with pytest.raises(
        DataError, match="1 of 2 clips have only background in their first step, first clip 1"
    ):
        tracking_probe(as_set(cells, tokens))
    one = DenseSet(tokens[:, :25], torch.ones(2, 2, 5, 5, dtype=torch.long), Grid(1, 5, 5))
    with pytest.raises(DataError, match="has one step; tracking needs two or more — give longer clips"):
        tracking_probe(one)
    with pytest.raises(ValueError, match="neighbours must be 1 or more"):
        Propagation(neighbours=0)
