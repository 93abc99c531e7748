"""Prediction errors against the horizon: known models have known errors."""

import pytest
import torch

from jepa.errors import DataError
from jepa.probes.imagination import horizon_errors
from jepa.types import Windows


class Counting:
    """A world whose frame is one number, which each action adds to; its model errs by ``bias`` per step."""

    frame_skip, history = 1, 2

    def __init__(self, bias: float = 0.0) -> None:
        self.bias = bias

    def encode(self, frames):
        assert frames.dtype == torch.uint8 and frames.shape[-1] == 3
        return frames.float().mean((2, 3, 4))[..., None, None]  # (B, T, 1, 1)

    def rollout(self, z, actions, *, past_actions=None, proprio=None):
        assert past_actions.shape[1] == z.shape[1] - 1
        steps = torch.arange(1, actions.shape[1] + 1)
        return (z[:, -1, 0] + actions[..., 0].cumsum(1) + self.bias * steps)[..., None, None]


def windows(count: int = 40, frames: int = 6, seed: int = 0) -> Windows:
    draw = torch.Generator().manual_seed(seed)
    actions = torch.randint(-3, 4, (count, frames - 1, 1), generator=draw)
    start = torch.randint(50, 200, (count, 1), generator=draw)
    values = torch.cat([start, start + actions[..., 0].cumsum(1)], 1)
    pixels = values[..., None, None, None].expand(-1, -1, 3, 4, 4).to(torch.uint8)
    return Windows(pixels, actions.float())


def test_a_perfect_model_has_no_error_and_the_mean_has_about_one():
    errors = horizon_errors(Counting(), [windows()], context=2)
    assert errors.windows == 40 and len(errors.world_model) == 4
    assert errors.world_model == pytest.approx((0,) * 4, abs=1e-9)
    assert sum(errors.mean) / 4 == pytest.approx(1, abs=1e-9)


def test_errors_by_hand():
    batch = windows()
    values = batch.frames.float().mean((2, 3, 4)).double()  # (B, T)
    seen, future = values[:, 1:2], values[:, 2:]
    variance = float(future.var(correction=0))
    errors = horizon_errors(Counting(bias=2.0), [batch], context=2)
    assert errors.world_model == pytest.approx([(2.0 * h) ** 2 / variance for h in (1, 2, 3, 4)], rel=1e-6)
    assert errors.copy == pytest.approx((((seen - future) ** 2).mean(0) / variance).tolist(), rel=1e-6)
    assert errors.mean == pytest.approx(
        (((future - future.mean()) ** 2).mean(0) / variance).tolist(), rel=1e-6
    )


def test_batches_do_not_matter():
    batch = windows()
    one = horizon_errors(Counting(1.0), [batch], context=2)
    many = horizon_errors(Counting(1.0), batch.split(8), context=2)
    for name, errors in one.lines().items():
        assert errors == pytest.approx(many.lines()[name]), name


def test_nothing_to_predict():
    with pytest.raises(DataError, match="windows of 6 frames leave none to predict after 6"):
        horizon_errors(Counting(), [windows()], context=6)
    with pytest.raises(DataError, match="no episode is long enough"):
        horizon_errors(Counting(), [], context=2)
