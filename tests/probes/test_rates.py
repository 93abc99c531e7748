"""Wilson intervals against values from the literature, and where the normal interval fails."""

import math

import pytest
from scipy.stats import norm

from jepa.errors import DataError
from jepa.probes.rates import Z95, success_rate


def trials(successes: int, n: int) -> list[bool]:
    return [True] * successes + [False] * (n - successes)


@pytest.mark.parametrize(("successes", "n"), [(1, 7), (81, 263), (195, 200), (0, 20), (20, 20)])
def test_the_ends_are_where_a_score_test_is_just_rejected(successes, n):
    """The ends p of the interval solve |share - p| = z sqrt(p (1 - p) / n)."""
    rate = success_rate(trials(successes, n))
    for end in (rate.low, rate.high):
        if end in (0.0, 1.0):
            assert rate.value == pytest.approx(end)
        else:
            assert abs(rate.value - end) == pytest.approx(Z95 * math.sqrt(end * (1 - end) / n), rel=1e-9)


def test_a_published_example():
    """Newcombe (1998), table I, method 3: 81 of 263 gives .2553 to .3662."""
    rate = success_rate(trials(81, 263))
    assert (rate.low, rate.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_z_is_the_normal_quantile():
    assert pytest.approx(norm.ppf(0.975), abs=1e-12) == Z95


def test_nothing_tried():
    with pytest.raises(DataError, match="no trials"):
        success_rate([])
