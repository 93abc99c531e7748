"""How often something succeeded, with an interval that holds at 0 and at 100 % too."""

import math
from collections.abc import Sequence

from jepa.errors import DataError
from jepa.probes.metrics import Measure

Z95 = 1.959963984540054  # the 97.5% point of the standard normal


def success_rate(successes: Sequence[bool]) -> Measure:
    """Return the share of successes with its 95% Wilson score interval (Wilson, 1927).

    Raises DataError where nothing was tried.
    """
    n = len(successes)
    if n == 0:
        raise DataError("a success rate of no trials; give at least one episode")
    share = sum(map(bool, successes)) / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    # Rounding may push the ends of 0 of n and n of n past the share itself.
    return Measure(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))
