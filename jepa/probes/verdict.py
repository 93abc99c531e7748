"""Did it learn anything? One probe table in plain words, the same in the report and on a terminal."""

import math
from dataclasses import dataclass
from typing import Literal

from jepa.probes.table import CHANCE, MAJORITY, PRETRAINED, RANDOM_INIT, RAW_PIXELS, ProbeRow, ProbeTable

# Where always giving the largest class scores this much above a fair die, accuracy flatters the blind.
UNEVEN = 1.5
# Standard errors by which a difference must exceed zero before it counts: about one chance in forty.
CLEARLY = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a table says about pre-training."""

    task: str
    answer: Literal["yes", "partly", "no"]
    text: str


def judge(table: ProbeTable) -> Verdict | None:
    """Compare the pretrained row with random init and raw pixels; None when the rows to compare are missing.

    yes: clearly above every baseline. partly: clearly above random init, but not above raw pixels. no:
    neither. Clearly is two standard errors of the difference between two independent shares of the test
    clips.
    """
    pretrained = table.find(PRETRAINED)
    baselines = [row for name in (RANDOM_INIT, RAW_PIXELS) if (row := table.find(name)) is not None]
    if pretrained is None or not baselines:
        return None
    measure = measure_of(table)
    own = _value(pretrained, measure)
    wins = [_is_clear(own, _value(row, measure), table.test_size) for row in baselines]
    answer: Literal["yes", "partly", "no"] = "yes" if all(wins) else "partly" if wins[0] else "no"
    compared = " and ".join(_difference(own, row, measure) for row in baselines)
    start = {
        "yes": "pre-training helped",
        "partly": "pre-training helped, but not past raw pixels" if len(wins) > 1 else "pre-training helped",
        "no": "no clear gain from pre-training",
    }[answer]
    chance = table.find(CHANCE)
    luck = "" if chance is None else f"; chance is {100 * _value(chance, measure):.1f}%"
    return Verdict(
        table.task,
        answer,
        f"{start}: {100 * own:.1f}% {measure} on {table.test_size} held-out clips, {compared}{luck}.",
    )


def measure_of(table: ProbeTable) -> str:
    """Return "balanced accuracy" where the classes are uneven, else "accuracy"."""
    majority, chance = table.find(MAJORITY), table.find(CHANCE)
    uneven = majority is not None and chance is not None and majority.accuracy > UNEVEN * chance.accuracy
    return "balanced accuracy" if uneven else "accuracy"


def _value(row: ProbeRow, measure: str) -> float:
    """Return the number that ``measure`` names."""
    return row.balanced_accuracy if measure == "balanced accuracy" else row.accuracy


def _is_clear(own: float, other: float, clips: int) -> bool:
    """Say whether ``own`` exceeds ``other`` by more than chance explains."""
    error = math.sqrt((own * (1 - own) + other * (1 - other)) / clips)
    return own - other > CLEARLY * error


def _difference(own: float, row: ProbeRow, measure: str) -> str:
    """Write one comparison: 29.0 points above random init (57.0%)."""
    points = 100 * (own - _value(row, measure))
    side = "above" if points >= 0 else "below"
    return f"{abs(points):.1f} points {side} {row.name} ({100 * _value(row, measure):.1f}%)"
