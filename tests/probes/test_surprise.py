"""Surprise of models whose errors are known, and scores by hand."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from jepa.errors import DataError
from jepa.masks import sample_masks
from jepa.objectives import OBJECTIVES, build
from jepa.probes.surprise import (
    absolute_accuracy,
    auroc,
    mean_by,
    pixel_surprise,
    relative_accuracy,
    surprise,
    window_starts,
)
from jepa.types import Grid
from tests.conftest import tiny_config

TUBELET = 2


class ConstantVelocity:
    """Features are the pixels themselves, one token per two frames; what comes next goes on as before."""

    def __init__(self):
        self.encoder = self
        self.patterns = []

    def grid(self, shape):
        return Grid(shape[2] // TUBELET, 1, 1)

    def targets(self, clip):
        return clip[:, :, ::TUBELET].flatten(3).mean(3).transpose(1, 2)  # (B, N, C)

    def __call__(self, clip, keep):
        return self.targets(clip)[:, : keep.shape[1]]

    def predictor(self, context, masks, grid, pattern=0):
        self.patterns.append(pattern)
        velocity = context[:, -1] - context[:, -2]
        ahead = masks.target - masks.context[:, -1:] if len(masks.context) else masks.target
        return context[:, -1:] + ahead[..., None] * velocity[:, None]


def moving(velocity=1.0, *, frames=24, jump_at=None, jump=0.0, batch=1):
    """Videos (B, 1, T, 2, 2) whose brightness grows steadily, and may jump once."""
    level = velocity * torch.arange(frames, dtype=torch.float32)
    if jump_at is not None:
        level[jump_at:] += jump
    return level.view(1, 1, -1, 1, 1).expand(batch, 1, -1, 2, 2).clone()


def watch(video, model=None, **changes):
    return surprise(model or ConstantVelocity(), video, **{"window": 8, "stride": 2} | changes)


def test_windows_fit_into_the_video():
    assert window_starts(24, window=16, stride=2).tolist() == [0, 2, 4, 6, 8]
    assert window_starts(25, window=16, stride=4).tolist() == [0, 4, 8]
    assert window_starts(16, window=16, stride=3).tolist() == [0]
    with pytest.raises(DataError, match="a video of 15 frames is shorter than one window of 16; give longer"):
        window_starts(15, window=16, stride=2)
    with pytest.raises(DataError, match="stride=0: both are counted in frames"):
        window_starts(24, window=16, stride=0)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_what_is_expected_does_not_surprise(stride):
    values = watch(moving(batch=3), stride=stride)
    assert values.shape == (3, len(window_starts(24, window=8, stride=stride)))
    torch.testing.assert_close(values, torch.zeros_like(values))


def test_surprise_is_the_mean_absolute_error_of_what_is_hidden():
    # Frames 0 to 7 make tokens 0, 2, 4, 6; two are seen, so 4 and 6 are expected, and 4 + 10 and 6 + 10 come.
    (value,) = watch(moving(frames=8, jump_at=4, jump=10.0)).flatten().tolist()
    assert value == pytest.approx(10.0)
    # Three are seen, the last of them after the jump: 14 + (14 - 2) = 26 is expected, 16 comes.
    (value,) = watch(moving(frames=8, jump_at=4, jump=10.0), context=0.75).flatten().tolist()
    assert value == pytest.approx(10.0)
    # Two are seen, one of the two others jumps.
    (value,) = watch(moving(frames=8, jump_at=6, jump=10.0)).flatten().tolist()
    assert value == pytest.approx(5.0)


def test_only_windows_that_meet_the_event_are_surprised():
    values = watch(moving(jump_at=13, jump=-6.0))[0]
    starts = window_starts(24, window=8, stride=2)
    tokens_before = torch.stack([(start + torch.arange(0, 8, TUBELET)) >= 13 for start in starts]).sum(1)
    assert ((values > 0) == ((tokens_before > 0) & (tokens_before < 4))).all()


def test_a_violation_is_ranked_above_its_lawful_twin():
    """A model of constant velocity finds the video in which something jumps, whatever its speed and place."""
    draw = torch.Generator().manual_seed(0)
    possible, impossible = [], []
    for _ in range(20):
        velocity, at = torch.randn((), generator=draw), int(torch.randint(8, 20, (), generator=draw))
        noise = 0.01 * torch.randn(1, 1, 24, 2, 2, generator=draw)
        possible.append(watch(moving(velocity) + noise).mean())
        impossible.append(watch(moving(velocity, jump_at=at, jump=1.0) + noise).mean())
    assert relative_accuracy(torch.stack(possible), torch.stack(impossible)).value == 1.0


def test_videos_and_windows_do_not_mix():
    video = torch.randn(5, 3, 20, 2, 2, generator=torch.Generator().manual_seed(0))
    together = watch(video)
    alone = torch.cat([watch(video[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, watch(video, windows_at_once=3))
    windows = torch.cat([watch(video[:, :, start : start + 8]) for start in range(0, 13, 2)], dim=1)
    torch.testing.assert_close(together, windows)


def test_the_mask_token_is_the_one_asked_for():
    model = ConstantVelocity()
    watch(moving(), model, pattern=3)
    assert set(model.patterns) == {3}


@pytest.mark.parametrize("kind", sorted(set(OBJECTIVES) - {"ijepa"}))
def test_every_objective_of_videos_can_be_surprised(kind):
    """On a window of the trained length, surprise is the loss typed out: mean L1 on a causal mask."""
    config = tiny_config(kind, masks={"video": [{"kind": "causal"}], "image": [{"kind": "image_blocks"}]})
    torch.manual_seed(0)
    model = build(config).eval()
    clip = torch.randn(3, 3, 8, 32, 32)
    found = surprise(model, clip, window=8)
    grid = model.encoder.grid(clip.shape)
    (masks,) = sample_masks(config.masks, grid, 3, image=False, generator=torch.Generator())
    with torch.no_grad():
        predicted = model.predictor(model.encoder(clip, keep=masks.context), masks, grid, 0)
        target_encoder = getattr(model, "target_encoder", None)
        targets = model.encoder(clip) if target_encoder is None else target_encoder(clip)
        if target_encoder is not None:
            targets = (targets - targets.mean(-1, keepdim=True)) / (
                targets.var(-1, False, keepdim=True) + 1e-5
            ).sqrt()
    wanted = (predicted - targets[:, grid.tokens // 2 :]).abs().mean(dim=(1, 2))
    torch.testing.assert_close(found, wanted[:, None])


@pytest.mark.parametrize("context", [0.0, 0.1, 0.9, 1.0])
def test_a_context_that_leaves_nothing(context):
    with pytest.raises(
        DataError, match=r"context .* of 4 time steps; show at least one and hide at least one"
    ):
        watch(moving(), context=context)


def test_a_video_that_is_not_finite():
    video = moving(batch=2)
    video[1, 0, 6] = math.nan
    with pytest.raises(DataError, match="prediction error: 4 of 18 values are NaN or infinite; look at"):
        watch(video)
    with pytest.raises(DataError, match="pixel error: 2 of 46 values"):
        pixel_surprise(video)


def test_pixels_guess_the_next_frame():
    video = torch.randn(2, 3, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    same = torch.stack([(video[:, :, t] - video[:, :, t - 1]).abs().mean((1, 2, 3)) for t in range(1, 6)], 1)
    on = torch.stack(
        [
            (video[:, :, t] - (2 * video[:, :, t - 1] - video[:, :, t - 2])).abs().mean((1, 2, 3))
            for t in range(2, 6)
        ],
        1,
    )
    torch.testing.assert_close(pixel_surprise(video), same)
    torch.testing.assert_close(pixel_surprise(video, order=2), on)
    with pytest.raises(DataError, match="order=2 needs a video of more than 2 frames, got 2"):
        pixel_surprise(video[:, :, :2], order=2)


def test_relative_accuracy_by_hand():
    possible, impossible = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([2.0, 2.0, 1.0, 9.0])
    measured = relative_accuracy(possible, impossible)
    assert measured.value == (1 + 0.5 + 0 + 1) / 4
    assert 0 <= measured.low < measured.value < measured.high <= 1
    assert relative_accuracy(possible, impossible) == measured
    assert relative_accuracy(possible, possible).value == 0.5


def test_the_interval_covers_nineteen_in_twenty():
    draw = torch.Generator().manual_seed(0)
    inside = 0
    for seed in range(100):
        impossible = (torch.rand(100, generator=draw) < 0.7).double()
        measured = relative_accuracy(torch.full((100,), 0.5, dtype=torch.double), impossible, seed=seed)
        inside += measured.low <= 0.7 <= measured.high
    assert 88 <= inside <= 99


def test_auroc_is_that_of_scikit_learn():
    draw = torch.Generator().manual_seed(0)
    possible = torch.randint(0, 20, (40,), generator=draw).float()  # with ties
    impossible = torch.randint(5, 25, (25,), generator=draw).float()
    wanted = roc_auc_score([0] * 40 + [1] * 25, torch.cat([possible, impossible]).numpy())
    assert auroc(possible, impossible) == pytest.approx(wanted)


def test_absolute_accuracy_by_hand():
    possible = torch.arange(20.0).flip(0)  # 18 of them, nine tenths, are below the threshold, which is 18
    assert absolute_accuracy(possible, torch.tensor([17.5, 17.6, 20.0])) == (18 + 1) / 23
    assert absolute_accuracy(torch.tensor([1.0]), torch.tensor([2.0])) == 0.5


def test_means_by_moment():
    values, moments = torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([4, -2, 4, 4])
    assert mean_by(values, moments) == pytest.approx({-2: 2.0, 4: 10 / 3})


@pytest.mark.parametrize(
    ("possible", "impossible", "message"),
    [
        ([1.0, 2.0], [1.0], "2 possible and 1 impossible videos are not matched pairs"),
        ([], [], r"scores of possible videos must be one number each, got \(0,\)"),
        ([[1.0]], [1.0], r"scores of possible videos must be one number each, got \(1, 1\)"),
        ([1.0, 2.0], [1.0, math.nan], "score of impossible videos: 1 of 2 values are NaN or infinite"),
    ],
)
def test_scores_that_are_none(possible, impossible, message):
    with pytest.raises(DataError, match=message):
        relative_accuracy(torch.tensor(possible), torch.tensor(impossible))
