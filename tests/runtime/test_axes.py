import math

import pytest

from jepa.runtime.axes import log_ticks, nice_ticks, tick_text


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.0031, 0.0097), (-40, 3e6), (0.996, 1.0), (5, 5), (0, 0), (1e-9, 3e-9)]
)
def test_ticks_are_round_few_and_cover_the_values(low, high):
    ticks = nice_ticks(low, high, 5)
    assert 2 <= len(ticks) <= 8
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-9 * step and ticks[-1] >= high - 1e-9 * step
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in (1, 2, 5)


@pytest.mark.parametrize(
    ("low", "high"), [(0.13, 3.2), (1, 1), (1e-6, 1e6), (0.02, 900), (10, 100), (0.5, 0.5)]
)
def test_log_ticks_cover_the_values(low, high):
    ticks = log_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-9) and ticks[-1] >= high * (1 - 1e-9)
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.05, "0.05"),
        (20_000, "20k"),
        (1.5e6, "1.5M"),
        (2e-5, "2e-05"),
        (3000, "3000"),
        (0.1 + 0.2, "0.3"),
    ],
)
def test_tick_text(value, text):
    assert tick_text(value) == text
