"""A curve in one line of text."""

import math
from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "×"


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw ``values`` in at most ``width`` characters, each the mean of its share, between their least and largest.

    A share with a number that is not finite is ×; a constant is drawn at half height, nothing as nothing.
    """
    shares = min(width, len(values))
    means = [
        _mean(values[part * len(values) // shares : (part + 1) * len(values) // shares])
        for part in range(shares)
    ]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    return "".join(_level(mean, low, high) for mean in means)


def _mean(values: Sequence[float]) -> float:
    """Return the mean; NaN where a value is not finite."""
    return math.fsum(value / len(values) for value in values) if all(map(math.isfinite, values)) else math.nan


def _level(value: float, low: float, high: float) -> str:
    """Return the character of a value."""
    if not math.isfinite(value):
        return NOT_FINITE
    if high == low:
        return LEVELS[len(LEVELS) // 2 - 1]
    height = (value / 2 - low / 2) / (high / 2 - low / 2)  # halves: the distance of two floats may not be one
    return LEVELS[min(len(LEVELS) - 1, int(height * len(LEVELS)))]
