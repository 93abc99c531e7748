"""Principal components: those of numpy, of one scale, and kept with the model."""

import numpy as np
import pytest
import torch

from jepa.models.components import PrincipalComponents


@pytest.fixture
def samples() -> torch.Tensor:
    """400 vectors of 12 numbers around a large mean, which lie almost in 4 directions."""
    draw = torch.Generator().manual_seed(0)
    strengths = torch.tensor([8.0, 4.0, 2.0, 1.0]) * torch.randn(400, 4, generator=draw)
    noise = 0.01 * torch.randn(400, 12, generator=draw)
    return 50 + strengths @ torch.randn(4, 12, generator=draw) + noise


def test_components_are_those_of_numpy(samples: torch.Tensor) -> None:
    model = PrincipalComponents(12, 3)
    share = model.fit(samples)
    centred = samples.double().numpy() - samples.double().numpy().mean(0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    assert share == pytest.approx((lengths[:3] ** 2).sum() / (lengths**2).sum(), rel=1e-4)
    expected = centred @ directions[:3].T
    expected /= np.sqrt((expected**2).mean())
    found = model(samples).numpy()
    signs = np.sign((found * expected).sum(0))  # which a decomposition leaves open
    np.testing.assert_allclose(found, signs * expected, atol=2e-3)


def test_a_slowly_falling_spectrum_is_no_obstacle() -> None:
    """Strengths of 300 directions fall by 1 % each: the first 20 hold as much as those of numpy."""
    draw = torch.Generator().manual_seed(0)
    samples = torch.randn(500, 300, generator=draw) * 0.99 ** torch.arange(300)
    lengths = np.linalg.svd((samples - samples.mean(0)).numpy(), compute_uv=False) ** 2
    share = PrincipalComponents(300, 20).fit(samples)
    assert share == pytest.approx(lengths[:20].sum() / lengths.sum(), rel=0.02)


def test_errors_keep_their_proportions(samples: torch.Tensor) -> None:
    """Distances between vectors are those before, but for one factor."""
    model = PrincipalComponents(12, 4)
    model.fit(samples)
    ratio = torch.pdist(model(samples)[:50]) / torch.pdist(samples[:50])
    assert ratio.std() < 1e-3 * ratio.mean()
    assert model(samples).mean(0).abs().max() < 1e-4
    assert model(samples).square().mean() == pytest.approx(1, rel=1e-4)


def test_a_fit_is_repeatable_and_leaves_the_generator_alone(samples: torch.Tensor) -> None:
    before = torch.get_rng_state()
    one, two = PrincipalComponents(12, 3), PrincipalComponents(12, 3)
    one.fit(samples)
    torch.rand(3)
    two.fit(samples)
    assert torch.equal(one.directions, two.directions)
    torch.set_rng_state(before)
    one.fit(samples)
    assert torch.equal(before, torch.get_rng_state())


def test_it_is_kept_in_the_state_dict(samples: torch.Tensor) -> None:
    fitted, fresh = PrincipalComponents(12, 3), PrincipalComponents(12, 3)
    fitted.fit(samples)
    assert fitted.is_fitted and not fresh.is_fitted
    fresh.load_state_dict(fitted.state_dict())
    assert fresh.is_fitted and torch.equal(fresh(samples), fitted(samples))
