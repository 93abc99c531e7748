import itertools
import math

import numpy as np
import pytest
import torch

from jepa.errors import DataError
from jepa.probes import sphere
from jepa.probes.sphere import alignment, uniformity


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("block", [7, 1024])
def test_uniformity_is_the_potential_over_pairs(block, generator, monkeypatch):
    monkeypatch.setattr(sphere, "BLOCK", block)
    x = torch.randn(40, 5, generator=generator) + 0.5
    points = unit(x.numpy().astype(float))
    potential = [math.exp(-2 * np.sum((u - v) ** 2)) for u, v in itertools.combinations(points, 2)]
    assert uniformity(x) == pytest.approx(math.log(np.mean(potential)), rel=1e-6)


def test_uniformity_of_collapse_is_zero_and_of_a_wide_sphere_about_minus_four(generator):
    assert uniformity(torch.ones(50, 8)) == pytest.approx(0, abs=1e-9)
    assert uniformity(torch.randn(500, 512, generator=generator)) == pytest.approx(-4, abs=0.05)


@pytest.mark.parametrize("count", [2, 5])
def test_alignment_is_the_mean_over_pairs_of_views(count, generator):
    views = torch.randn(6, count, 4, generator=generator)
    points = unit(views.numpy().astype(float))
    apart = [np.sum((u - v) ** 2) for clip in points for u, v in itertools.combinations(clip, 2)]
    assert alignment(views) == pytest.approx(np.mean(apart), rel=1e-6)
    assert alignment(views[:, :1].expand(-1, 3, -1)) == pytest.approx(0, abs=1e-9)


def test_refuses_what_it_cannot_compare():
    with pytest.raises(DataError, match="give 2 or more, got 1"):
        uniformity(torch.ones(1, 8))
    with pytest.raises(DataError, match="hold NaN"):
        uniformity(torch.full((4, 4), float("nan")))
    with pytest.raises(DataError, match="needs 2 views"):
        alignment(torch.ones(4, 1, 4))
