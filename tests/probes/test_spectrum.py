import math

import numpy as np
import pytest
import torch

from jepa.errors import DataError
from jepa.probes.spectrum import alpha_req, clip_directions, effective_rank, lidar, std_spectrum


@pytest.mark.parametrize(("n", "width"), [(300, 20), (20, 300), (64, 64)])
def test_is_rankme_as_the_paper_writes_it(n, width, generator):
    x = torch.randn(n, width, generator=generator) * torch.logspace(0, -3, width)
    singular = torch.linalg.svdvals(x.double())
    shares = singular / singular.sum() + 1e-7
    assert effective_rank(x) == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), rel=1e-4)


@pytest.mark.parametrize("directions", [1, 3, 17])
def test_counts_equal_directions(directions, generator):
    basis = torch.linalg.qr(torch.randn(128, directions, generator=generator)).Q
    samples = torch.linalg.qr(torch.randn(400, directions, generator=generator)).Q
    assert effective_rank(samples @ basis.T) == pytest.approx(directions, rel=1e-3)


def test_depends_on_neither_scale_rotation_nor_the_way_samples_are_stacked(generator):
    x = torch.randn(60, 16, generator=generator) * torch.logspace(0, -1, 16)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q
    rank = effective_rank(x)
    assert effective_rank(1000 * x @ turn) == pytest.approx(rank, rel=1e-3)
    assert effective_rank(x.view(5, 12, 16)) == pytest.approx(rank)
    assert effective_rank(x.bfloat16()) == pytest.approx(rank, rel=0.02)


def test_total_collapse_is_one_and_not_a_number_is_said():
    assert effective_rank(torch.ones(50, 8)) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.zeros(50, 8)) >= 1
    assert math.isnan(effective_rank(torch.full((4, 4), float("nan"))))
    assert math.isnan(effective_rank(torch.empty(0, 8)))


@pytest.mark.parametrize(("n", "width"), [(400, 60), (50, 130), (300, 150)])
def test_alpha_is_the_weighted_fit_over_ranks_4_to_100(n, width, generator):
    x = torch.randn(n, width, generator=generator) * torch.arange(1, width + 1) ** -0.8 + 3
    spectrum = np.sort(np.linalg.eigvalsh(np.cov(x.numpy().astype(float).T, bias=True)))[::-1]
    ranks = np.arange(4, min(100, width, n - 1) + 1)
    # polyfit squares its weights
    slope = np.polyfit(np.log(ranks), np.log(spectrum[ranks - 1]), 1, w=ranks**-0.5)[0]
    assert alpha_req(x) == pytest.approx(-slope, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_is_the_exponent_of_an_exact_power_law(alpha, generator):
    x = torch.randn(500, 80, generator=generator, dtype=torch.double)
    white = torch.linalg.qr(x - x.mean(0)).Q
    ranks = torch.arange(1, 81, dtype=torch.double)
    assert alpha_req(white * ranks ** (-alpha / 2)) == pytest.approx(alpha, rel=1e-6)


def test_alpha_does_not_fit_rounding(generator):
    thin = torch.randn(300, 5, generator=generator) @ torch.randn(5, 64, generator=generator)
    assert math.isnan(alpha_req(thin))
    assert math.isnan(alpha_req(torch.ones(50, 8)))


def lidar_by_hand(views, delta):
    """Equations 1 to 4, with loops and matrix roots; delta is absolute."""
    clips, count, width = views.shape
    mean = views.reshape(-1, width).mean(0)
    between = sum(np.outer(v.mean(0) - mean, v.mean(0) - mean) for v in views) / clips
    within = sum(np.outer(x - v.mean(0), x - v.mean(0)) for v in views for x in v) / (clips * (count - 1))
    values, axes = np.linalg.eigh(within + delta * np.eye(width))
    root = axes @ np.diag(values**-0.5) @ axes.T
    strength = np.linalg.eigvalsh(root @ between @ root).clip(0)
    share = strength / strength.sum() + 1e-7
    return np.exp(-(share * np.log(share)).sum())


@pytest.mark.parametrize(("n", "width"), [(80, 12), (20, 30)])
def test_lidar_is_the_entropy_rank_of_the_discriminant_matrix(n, width, generator):
    clips = torch.randn(n, 1, width, generator=generator) * torch.logspace(0, -1, width)
    views = 2 + clips + 0.3 * torch.randn(n, 4, width, generator=generator)
    delta = 1e-4 * float(views.double().square().mean())
    assert lidar(views) == pytest.approx(lidar_by_hand(views.double().numpy(), delta), rel=1e-6)
    assert lidar(100 * views) == pytest.approx(lidar(views), rel=1e-5)


def test_lidar_counts_the_directions_that_tell_clips_apart(generator):
    """Where views change most, clips differ as much; RankMe sees those directions alone."""
    clips = torch.randn(2000, 1, 20, generator=generator) * (torch.arange(20) < 6)
    noise = torch.randn(2000, 10, 20, generator=generator) * torch.where(torch.arange(20) < 6, 0.01, 1)
    assert lidar(clips + noise) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("count", [2, 8])
def test_clip_directions_is_the_share_of_variance_that_belongs_to_the_clip(count, generator):
    """Variance components b and 1 in each direction give b / (1 + b), however few the views."""
    strengths = torch.tensor([0.0, 0.0, 0.0, 1.0, 3.0, 100.0])
    clips = torch.randn(20_000, 1, 6, generator=generator) * strengths.sqrt()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    views = (clips + torch.randn(20_000, count, 6, generator=generator)) @ turn
    assert clip_directions(views) == pytest.approx(float((strengths / (1 + strengths)).sum()), abs=0.06)
    assert clip_directions(views * 50) == pytest.approx(clip_directions(views), rel=1e-4)


def test_clip_directions_of_noise_and_of_collapse_are_few(generator):
    noise = torch.randn(3000, 4, 16, generator=generator)
    assert clip_directions(noise) < 0.5
    assert lidar(noise) > 15  # each direction of the means holds a quarter of the noise
    clips = torch.randn(3000, 1, 16, generator=generator).expand(-1, 4, -1)
    assert clip_directions(clips) == pytest.approx(16, rel=1e-2)
    assert clip_directions(1 + 1e-4 * clips) < 0.01
    assert clip_directions(torch.ones(10, 2, 4)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "width"), [(200, 10), (10, 30)])
def test_std_spectrum_is_the_root_of_the_covariance_spectrum(n, width, generator):
    x = 5 + torch.randn(n, width, generator=generator) * torch.logspace(0, -1, width)
    values = x.numpy().astype(float)
    spectrum = std_spectrum(x)
    singular = np.linalg.svd(values - values.mean(0), compute_uv=False) / math.sqrt(n)
    # The smallest of n <= D is zero after centring; the root of its rounding is 1e-8 of the largest.
    np.testing.assert_allclose(spectrum.directions, singular, rtol=1e-6, atol=1e-6)
    assert spectrum.mean_std == pytest.approx(values.std(0).mean())
    rms = math.sqrt((values**2).sum(1).mean())
    assert spectrum.relative == pytest.approx(np.linalg.norm(values - values.mean(0)) / math.sqrt(n) / rms)


def test_collapse_has_no_spread():
    spectrum = std_spectrum(torch.ones(50, 8))
    assert (max(spectrum.directions), spectrum.mean_std, spectrum.relative) == (0, 0, 0)


def test_refuses_what_it_cannot_measure():
    for measure in (alpha_req, std_spectrum):
        with pytest.raises(DataError, match="hold NaN"):
            measure(torch.full((4, 4), float("nan")))
    for measure in (lidar, clip_directions):
        with pytest.raises(DataError, match="hold NaN"):
            measure(torch.full((4, 2, 4), float("nan")))
        with pytest.raises(DataError, match="needs 2 views of each clip or more, got 1"):
            measure(torch.ones(4, 1, 4))
        with pytest.raises(DataError, match="give 2 or more, got 1"):
            measure(torch.ones(1, 2, 4))
        with pytest.raises(DataError, match=r"must be \(clips, views, width\)"):
            measure(torch.ones(4, 2))
