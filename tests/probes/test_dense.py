"""Segmentation scores against counts made by hand; probes whose right answer is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jepa.errors import DataError
from jepa.probes.dense import (
    DenseSet,
    enlarge,
    into_cubes,
    iou,
    segmentation_probe,
    segmentation_score,
)
from jepa.types import Grid

GRID = Grid(2, 3, 4)


def squares(labels, generator, *, noise=0.0, width=6, videos=None):
    """Tokens that hold their class, one-hot in the first places, and masks of whole tokens."""
    n = len(labels)
    tokens = torch.cat([F.one_hot(labels, 3).float(), torch.zeros(n, GRID.tokens, width - 3)], dim=2)
    tokens = tokens + noise * torch.randn(tokens.shape, generator=generator)
    cells = labels.view(n, *GRID)
    pixels = cells.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return DenseSet(tokens, pixels, GRID, videos)


def draw(n, generator):
    return torch.randint(0, 3, (n, GRID.tokens), generator=generator)


def test_a_token_has_the_class_of_most_of_its_pixels(generator):
    pixels = torch.randint(0, 4, (3, 4, 6, 8), generator=generator)
    found = DenseSet(torch.ones(3, 24, 2), pixels, GRID).token_labels()
    for clip in range(3):
        for t in range(2):
            for y in range(3):
                for x in range(4):
                    cube = pixels[clip, 2 * t : 2 * t + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
                    wanted = np.bincount(cube.flatten().numpy()).argmax()
                    assert found[clip, (t * 3 + y) * 4 + x] == wanted


def test_cubes_are_in_token_order():
    pixels = torch.arange(4 * 6 * 8).view(1, 4, 6, 8)
    cubes = into_cubes(pixels, GRID)
    assert cubes.shape == (1, 24, 8)
    assert cubes[0, (1 * 3 + 2) * 4 + 3].tolist() == pixels[0, 2:, 4:, 6:].flatten().tolist()


def test_enlarging_is_bilinear_in_space_and_steps_in_time(generator):
    scores = torch.randn(2, 24, 3, generator=generator)
    larger = enlarge(scores, GRID, (4, 6, 8))
    assert larger.shape == (2, 3, 4, 6, 8)
    for frame in range(4):
        cells = scores[1].view(*GRID, 3)[frame // 2].numpy()  # (h, w, C)
        rows, columns = (
            np.clip((np.arange(6) + 0.5) / 2 - 0.5, 0, 2),
            np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3),
        )
        top, left = rows.astype(int), columns.astype(int)
        below, right = np.minimum(top + 1, 2), np.minimum(left + 1, 3)
        down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
        upper = cells[top][:, left] * (1 - across) + cells[top][:, right] * across
        lower = cells[below][:, left] * (1 - across) + cells[below][:, right] * across
        wanted = upper * (1 - down) + lower * down  # (H, W, C)
        np.testing.assert_allclose(larger[1, :, frame].permute(1, 2, 0), wanted, atol=1e-5)


def test_iou_by_hand():
    table = torch.tensor([[5, 1, 0, 0], [2, 3, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = iou(table)
    assert found[:2].tolist() == pytest.approx([5 / 8, 3 / 7])
    assert found[3] == 0  # answered, but never there
    assert torch.isnan(found[2])


def test_score_by_hand(generator):
    truth = torch.zeros(2, GRID.tokens, dtype=torch.long)
    truth[0, :6], truth[1, :3] = 1, 2
    answer = truth.clone()
    answer[0, :2], answer[1, 23] = 2, 1  # 4 of 6 right; one background token taken for class 1
    score = segmentation_score(F.one_hot(answer, 3).float(), squares(truth, generator))
    wanted = [38 / 39, 4 / 7, 3 / 5]
    assert score.iou == pytest.approx(wanted)
    assert score.mean_iou.value == pytest.approx(np.mean(wanted))
    assert score.accuracy == pytest.approx(45 / 48)
    assert score.balanced_accuracy == pytest.approx((38 / 39 + 4 / 6 + 1) / 3)
    assert score.confusion.tolist() == [[38, 1, 0], [0, 4, 2], [0, 0, 3]]
    assert score.mean_iou.low <= score.mean_iou.value <= score.mean_iou.high


def test_foreground_takes_all_classes_as_one(generator):
    truth = draw(3, generator)
    confused = torch.where(truth > 0, 3 - truth, 0)  # the right place, the wrong class
    score = segmentation_score(F.one_hot(confused, 3).float(), squares(truth, generator))
    exact = segmentation_score(F.one_hot(truth, 3).float(), squares(truth, generator))
    assert score.foreground_iou == exact.foreground_iou
    assert score.iou[1:] == (0, 0) and score.mean_iou.value == pytest.approx(1 / 3)


def test_foreground_wins_where_its_classes_together_are_likelier(generator):
    truth = torch.ones(2, GRID.tokens, dtype=torch.long)
    truth[:, ::2] = 0
    unsure = torch.where((truth > 0)[..., None], torch.tensor([0.4, 0.3, 0.3]), torch.tensor([1.0, 0, 0]))
    score = segmentation_score(unsure, squares(truth, generator))
    assert score.iou[1] == 0 and score.foreground_iou.value > 0.3


def test_pixels_pay_for_coarse_tokens(generator):
    labels = draw(4, generator)
    whole = squares(labels, generator)
    shifted = DenseSet(whole.tokens, whole.pixels.roll(1, dims=3), GRID)
    perfect = F.one_hot(shifted.token_labels(), 3).float()
    score = segmentation_score(perfect, shifted)
    assert score.mean_iou.value == 1 and 0.4 < score.pixel_mean_iou.value < 0.95


def test_portions_do_not_change_the_pixel_score(generator, monkeypatch):
    labels = draw(5, generator)
    data, answers = squares(labels, generator), torch.rand(5, GRID.tokens, 3, generator=generator)
    whole = segmentation_score(answers, data)
    monkeypatch.setattr("jepa.probes.dense.PIXELS_AT_ONCE", 1)
    assert segmentation_score(answers, data).pixel_mean_iou == whole.pixel_mean_iou


def test_tokens_that_hold_the_class_are_segmented_without_a_fault(generator):
    train, test = (squares(draw(n, generator), generator, noise=0.05) for n in (20, 8))
    score = segmentation_probe(train, test)
    assert (score.mean_iou.value, score.accuracy, score.balanced_accuracy) == (1, 1, 1)
    assert score.weight_decay is not None


def test_shuffled_tokens_say_nothing(generator):
    train, test = (squares(draw(n, generator), generator, noise=0.05) for n in (40, 40))
    mixed = []
    for data in (train, test):
        order = torch.randperm(data.tokens.shape[0] * GRID.tokens, generator=generator)
        tokens = data.tokens.flatten(0, 1)[order].view_as(data.tokens)
        mixed.append(DenseSet(tokens, data.pixels, GRID))
    score = segmentation_probe(*mixed)
    assert abs(score.balanced_accuracy - 1 / 3) < 0.06 and score.mean_iou.value < 0.25


def test_fits_on_a_share_of_the_tokens_of_all_clips(generator):
    train, test = (squares(draw(n, generator), generator, noise=0.3) for n in (30, 10))
    few = segmentation_probe(train, test, fit_tokens=120, seed=1)
    assert few.accuracy > 0.9
    assert few.confusion.equal(segmentation_probe(train, test, fit_tokens=120, seed=1).confusion)


def test_class_numbers_may_have_gaps(generator):
    labels = 3 * draw(20, generator).clamp_max(1)  # classes 0 and 3
    tokens = F.one_hot(labels, 4).float()
    data = DenseSet(tokens, labels.view(-1, *GRID), GRID)
    score = segmentation_probe(data, data)
    assert score.iou[0] == score.iou[3] == 1 and np.isnan(score.iou[1:3]).all() and score.mean_iou.value == 1


def test_clips_of_one_video_are_drawn_together(generator):
    labels = draw(6, generator)
    answers = torch.rand(6, GRID.tokens, 3, generator=generator)
    alone = segmentation_score(answers, squares(labels, generator))
    tied = segmentation_score(
        answers[[0, 0, 1, 1, 2, 2]],
        squares(labels[[0, 0, 1, 1, 2, 2]], generator, videos=("a", "a", "b", "b", "c", "c")),
    )
    single = segmentation_score(answers[:3], squares(labels[:3], generator))
    assert (tied.mean_iou.low, tied.mean_iou.high) == pytest.approx(
        (single.mean_iou.low, single.mean_iou.high)
    )
    assert alone.mean_iou != tied.mean_iou
    one = segmentation_score(answers, squares(labels, generator, videos=("a",) * 6))
    assert np.isnan(one.mean_iou.low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": Grid(2, 3, 5)}, r"24 tokens per clip do not fit a grid of \(2, 3, 5\), which has 30"),
        ({"tokens": torch.ones(2, 24)}, r"tokens must be \(clips, tokens, width\)"),
        (
            {"tokens": torch.full((2, 24, 3), torch.nan)},
            r"tokens of 2 of 2 clips hold NaN or infinity, first clip 0",
        ),
        (
            {"pixels": torch.zeros(3, 4, 6, 8).long()},
            r"masks must be \(2, frames, height, width\) of whole numbers",
        ),
        ({"pixels": torch.zeros(2, 4, 6, 8)}, r"of whole numbers for 2 clips, got .* of torch.float32"),
        ({"pixels": torch.zeros(2, 4, 7, 8).long()}, r"masks of \(4, 7, 8\) .* cannot be cut into a grid of"),
        ({"pixels": -torch.ones(2, 4, 6, 8).long()}, r"masks hold class -1"),
        ({"groups": ("a",)}, r"2 samples need 2 groups, got 1"),
    ],
)
def test_refuses_what_does_not_fit(change, message):
    good = {"tokens": torch.ones(2, 24, 3), "pixels": torch.zeros(2, 4, 6, 8).long(), "grid": GRID}
    DenseSet(**good)
    with pytest.raises(DataError, match=message):
        DenseSet(**good | change)


def test_refuses_sets_that_cannot_be_probed(generator):
    labels = draw(8, generator)
    good = squares(labels, generator)
    with pytest.raises(DataError, match="no training token has most of its pixels in a class.*finer grid"):
        segmentation_probe(squares(labels * 0, generator), good)
    with pytest.raises(DataError, match="no test token has most of its pixels in a class"):
        segmentation_probe(good, squares(labels * 0, generator))
    with pytest.raises(DataError, match=r"test classes \[2\] never occur in training"):
        segmentation_probe(squares(labels.clamp_max(1), generator), good)
    with pytest.raises(DataError, match="test tokens have width 7, but training tokens have 6"):
        segmentation_probe(good, squares(labels, generator, width=7))


def test_interval_equals_a_bootstrap_written_down(generator):
    truth, answers = draw(12, generator), torch.rand(12, GRID.tokens, 3, generator=generator)
    answers[:6] += 2 * F.one_hot(truth[:6], 3)  # some videos are easy, some hard
    score = segmentation_score(answers, squares(truth, generator))
    said, rng, drawn = answers.argmax(dim=2).numpy(), np.random.default_rng(0), []
    for _ in range(4000):
        pick = rng.integers(0, 12, 12)
        a, b = truth.numpy()[pick], said[pick]
        drawn.append(np.mean([((a == c) & (b == c)).sum() / ((a == c) | (b == c)).sum() for c in range(3)]))
    wanted = np.quantile(drawn, [0.025, 0.975])
    assert [score.mean_iou.low, score.mean_iou.high] == pytest.approx(wanted, abs=0.02)
    assert wanted[1] - wanted[0] > 0.15
