import math

import pytest
import torch

from jepa.probes.health import collapse_warning, effective_rank


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


def test_warns_in_plain_words_with_the_values():
    text = collapse_warning({"effective_rank": 1.31, "target_std": 0.004, "loss": 0.1}, 128)
    assert text is not None
    assert text.startswith("features collapse: effective rank 1.3 of 128, target std 0.004;")
    assert "optim.learning_rate" in text


def test_warns_of_each_sign_alone():
    assert "target std 0.001" in collapse_warning({"target_std": 0.001, "effective_rank": 50.0}, 128)
    assert "effective rank 1.1 of 128" in collapse_warning({"effective_rank": 1.1, "target_std": 0.9}, 128)


def test_a_fresh_predictor_is_no_collapse():
    assert collapse_warning({"prediction_std": 0.001, "target_std": 0.8}, 128) is None


@pytest.mark.parametrize(
    "signals",
    [{}, {"effective_rank": 40.0, "target_std": 0.5, "prediction_std": 0.3}, {"target_std": float("nan")}],
)
def test_is_silent_about_health_and_about_what_was_not_measured(signals):
    assert collapse_warning(signals, 128) is None
