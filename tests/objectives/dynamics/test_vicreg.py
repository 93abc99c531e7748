"""VICReg's two terms against NumPy, and what they say of collapsed and of good latents."""

import numpy as np
import pytest
import torch

from jepa.objectives.dynamics.vicreg import covariance_loss, variance_loss


@pytest.fixture
def z(generator):
    """Latents of 7 samples, 3 time steps and 5 channels; each time step has another mean and another scale."""
    scale = torch.tensor([0.2, 1.0, 3.0])[:, None]
    return torch.randn(7, 3, 5, generator=generator) * scale + 10 * scale


def test_both_are_the_formulas_of_the_paper(z):
    variance, covariance = 0.0, 0.0
    for t in range(3):
        for j in range(5):
            variance += max(0.0, 1 - np.sqrt(np.var(z[:, t, j].numpy(), ddof=1) + 1e-4)) / (3 * 5)
        squares = np.cov(z[:, t].double().numpy().T) ** 2
        covariance += sum(squares[i, j] for i in range(5) for j in range(5) if i != j) / (3 * 5)
    assert variance_loss(z).item() == pytest.approx(variance, rel=1e-4)
    assert covariance_loss(z).item() == pytest.approx(covariance, rel=1e-4)


def test_constant_latents_have_a_variance_loss_of_nearly_1_and_a_way_out():
    z = torch.full((8, 3, 4), 2.5, requires_grad=True)
    loss = variance_loss(z)
    assert loss.item() == pytest.approx(0.99, abs=1e-6)
    assert covariance_loss(z).item() == 0
    loss.backward()
    assert torch.isfinite(z.grad).all()


def test_time_is_no_substitute_for_the_batch():
    """Latents that tell the time but no sample from another are collapsed."""
    z = torch.arange(3.0)[None, :, None].expand(8, 3, 4)
    assert variance_loss(z).item() == pytest.approx(0.99, abs=1e-6)


def test_wide_independent_channels_cost_nothing(generator):
    z = 2 * torch.randn(20_000, 2, 4, generator=generator)
    assert variance_loss(z).item() == 0
    assert covariance_loss(z).item() < 0.02
    copies = z[..., :1].expand(-1, -1, 4)
    assert variance_loss(copies).item() == 0
    # Every off-diagonal covariance is the variance, 4: 12 entries of 16, divided by 4 channels.
    assert covariance_loss(copies).item() == pytest.approx(12 * 16 / 4, rel=0.05)
