"""A quasimetric whatever its weights are: the properties that planning with it relies on."""

import numpy as np
import pytest
import torch

from jepa.models.temporal_distance import TemporalDistance, quasimetric


@pytest.fixture
def distance() -> TemporalDistance:
    torch.manual_seed(0)
    return TemporalDistance(6, width=16, dim=8)


def test_it_is_a_quasimetric_before_any_training(distance: TemporalDistance) -> None:
    z = torch.randn(12, 3, 6)
    d = distance(z[:, None], z[None])  # (12, 12)
    assert torch.equal(d.diagonal(), torch.zeros(12))
    assert (d + torch.eye(12) > 0).all()
    detour = d[:, :, None] + d[None]  # (12, 12, 12): from i to k by j
    assert (d[:, None] <= detour + 1e-5).all()
    assert not torch.allclose(d, d.T, rtol=0.05)  # there and back may differ


def test_quasimetric_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 5, 6))
    expected = np.sqrt(((u - v)[:, :3] ** 2).sum(1)) + np.maximum((u - v)[:, 3:], 0).max(1)
    np.testing.assert_allclose(quasimetric(torch.tensor(u), torch.tensor(v)).numpy(), expected)


def test_leading_axes_broadcast_and_pairs_do_not_mix(distance: TemporalDistance) -> None:
    z, goal = torch.randn(2, 4, 5, 1, 6), torch.randn(2, 1, 1, 1, 6)
    together = distance(z, goal)
    assert together.shape == (2, 4, 5)
    torch.testing.assert_close(together, distance(z, goal.expand_as(z)))
    torch.testing.assert_close(together[1, 2, 3], distance(z[1, 2, 3], goal[1, 0, 0]))


def test_every_parameter_learns_and_gradients_reach_frames_even_at_the_goal(
    distance: TemporalDistance,
) -> None:
    z, goal = torch.randn(7, 2, 6, requires_grad=True), torch.randn(7, 2, 6)
    distance(z, goal).sum().backward()
    idle = [name for name, p in distance.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == ["layers.6.bias"]  # it moves both embeddings alike
    assert z.grad is not None and z.grad.abs().sum(dim=(1, 2)).min() > 0
    there = goal.clone().requires_grad_()
    distance(there, goal).sum().backward()
    assert there.grad is not None and there.grad.isfinite().all()


def test_the_scale_of_the_latents_is_undone(distance: TemporalDistance) -> None:
    z, goal = torch.randn(2, 5, 1, 6)
    before = distance(z, goal)
    distance.mean.fill_(30.0)
    distance.std.fill_(0.01)
    torch.testing.assert_close(distance(30 + 0.01 * z, 30 + 0.01 * goal), before, rtol=1e-3, atol=1e-3)


def test_without_pooling_it_tells_where_something_is() -> None:
    """Two frames with the same tokens in other places: the mean cannot tell them apart."""
    torch.manual_seed(0)
    z = torch.randn(1, 3, 6)
    moved = z.roll(1, dims=1)
    assert TemporalDistance(6, width=16, dim=8)(z, moved).item() == pytest.approx(0, abs=1e-5)
    assert TemporalDistance(18, width=16, dim=8, pool=False)(z, moved).item() > 0.01
