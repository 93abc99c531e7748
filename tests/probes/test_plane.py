import numpy as np
import pytest
import torch

from jepa.probes.plane import principal_plane


@pytest.mark.parametrize(("samples", "width"), [(40, 7), (7, 40), (9, 9)])
def test_it_is_numpys_svd_up_to_sign(samples, width):
    values = torch.randn(samples, width, generator=torch.Generator().manual_seed(0)) * torch.linspace(
        1, 4, width
    )
    places, shares = principal_plane(values + 100)
    centred = values.double().numpy() - values.double().numpy().mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(places.numpy()), np.abs(u[:, :2] * s[:2]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(shares, s[:2] ** 2 / (s**2).sum(), rtol=1e-4)


def test_the_farthest_point_is_positive_so_that_pictures_repeat():
    values = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    for sign in (1, -1):
        places, _ = principal_plane(sign * values)
        assert (places.gather(0, places.abs().argmax(dim=0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("shape", [(1, 4), (5, 1), (2, 2)])
def test_missing_components_are_zero(shape):
    values = torch.arange(float(np.prod(shape))).view(shape)
    places, shares = principal_plane(values)
    assert places.shape == (shape[0], 2)
    assert places[:, 1].abs().max() < 1e-6 and shares[1] < 1e-9
    assert torch.isfinite(places).all()


def test_equal_features_are_one_point():
    places, shares = principal_plane(torch.ones(6, 3))
    assert not places.any() and shares == (0.0, 0.0)
