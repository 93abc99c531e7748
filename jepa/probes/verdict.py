"""Did it learn anything? One probe table in plain words, the same in the report and on a terminal."""

import math
from dataclasses import dataclass
from typing import Literal

from jepa.probes.metrics import ACCURACY, BALANCED, HIGHER_IS_BETTER, MAE, R2
from jepa.probes.table import PRETRAINED, RANDOM_INIT, RAW_PIXELS, ProbeRow, ProbeTable
from jepa.probes.trial import CHANCE, MAJORITY

# Where always giving the largest class scores this much above a fair die, accuracy flatters the blind.
UNEVEN = 1.5
# Standard errors by which a difference must exceed zero before it counts: about one chance in forty.
CLEARLY = 2.0
INTERVAL = 2 * 1.96  # standard errors that a 95 % interval is wide


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a table says about pre-training."""

    task: str
    answer: Literal["yes", "partly", "no"]
    text: str


def verdicts(table: ProbeTable) -> tuple[Verdict, ...]:
    """Judge every head: what one reads from an encoder, another may read from pixels as well."""
    return tuple(verdict for head in table.heads if (verdict := judge(table, head)) is not None)


def judge(table: ProbeTable, head: str | None = None) -> Verdict | None:
    """Compare the pretrained row with random init and raw pixels, through ``head`` or the first one.

    None when the rows to compare are missing.

    yes: clearly above every baseline. partly: clearly above random init, but not above raw pixels. no:
    neither. Clearly is two standard errors of the difference between two independent samples of test videos.
    """
    pretrained = table.find(PRETRAINED, head)
    baselines = [row for name in (RANDOM_INIT, RAW_PIXELS) if (row := table.find(name, head)) is not None]
    if pretrained is None or not baselines:
        return None
    measure = measure_of(table)
    wins = [_is_clear(pretrained, row, measure) for row in baselines]
    answer: Literal["yes", "partly", "no"] = "yes" if all(wins) else "partly" if wins[0] else "no"
    compared = " and ".join(_difference(pretrained, row, measure) for row in baselines)
    start = {
        "yes": "pre-training helped",
        "partly": "pre-training helped, but not past raw pixels" if len(wins) > 1 else "pre-training helped",
        "no": "no clear gain from pre-training",
    }[answer]
    chance = table.find(CHANCE)
    blind = "" if chance is None else f"; chance is {_written(chance.mean(measure), measure)}"
    own = _written(pretrained.mean(measure), measure)
    text = f"{start}: {own} {measure} on {table.test_size:,} held-out clips, {compared}{blind}."
    return Verdict(table.task if len(table.heads) == 1 else f"{table.task}, {pretrained.head}", answer, text)


def measure_of(table: ProbeTable) -> str:
    """Return the measure that leads, but balanced accuracy for accuracy where the classes are uneven."""
    majority, chance = table.find(MAJORITY), table.find(CHANCE)
    if table.metric != ACCURACY or majority is None or chance is None:
        return table.metric
    return BALANCED if majority.mean(ACCURACY) > UNEVEN * chance.mean(ACCURACY) else ACCURACY


def _is_clear(own: ProbeRow, other: ProbeRow, measure: str) -> bool:
    """Say whether ``own`` is better than ``other`` by more than chance explains."""
    errors = [(high - low) / INTERVAL for low, high in (own.interval(measure), other.interval(measure))]
    gain = own.mean(measure) - other.mean(measure)
    return (gain if HIGHER_IS_BETTER[measure] else -gain) > CLEARLY * math.hypot(*errors)


def _written(value: float, measure: str) -> str:
    """Write 57.0%, or a plain number for measures that are no share."""
    return f"{value:.3f}" if measure in (R2, MAE) else f"{100 * value:.1f}%"


def _difference(own: ProbeRow, other: ProbeRow, measure: str) -> str:
    """Write one comparison: 29.0 points above random init (57.0%)."""
    gap, value = own.mean(measure) - other.mean(measure), _written(other.mean(measure), measure)
    size = f"{abs(gap):.3f}" if measure in (R2, MAE) else f"{100 * abs(gap):.1f} points"
    return f"{size} {'above' if gap >= 0 else 'below'} {other.name} ({value})"
