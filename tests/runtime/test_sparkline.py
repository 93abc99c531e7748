import math

import pytest

from jepa.runtime.sparkline import LEVELS, sparkline


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 5, ""),
        ([3.0], 5, "▄"),
        ([2.0, 2.0, 2.0], 5, "▄▄▄"),
        (range(8), 8, LEVELS),
        (range(8), 20, LEVELS),  # never wider than the values
        (range(16), 8, LEVELS),  # two values each
        ([0, math.nan, 1], 5, "▁×█"),
        ([math.nan, math.inf], 5, "××"),
        ([1.5e308, -1.5e308], 2, "█▁"),  # their distance is no number
    ],
)
def test_curves(values: list, width: int, text: str) -> None:
    assert sparkline(list(values), width) == text


@pytest.mark.parametrize("count", [1, 7, 39, 40, 41, 1000])
def test_the_width_is_kept_and_the_ends_are_those_of_the_curve(count: int) -> None:
    drawn = sparkline([float(value) for value in range(count)], 40)
    assert len(drawn) == min(count, 40)
    if count > 1:
        assert (drawn[0], drawn[-1]) == ("▁", "█")
        assert list(drawn) == sorted(drawn)
