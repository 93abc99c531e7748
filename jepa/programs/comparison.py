"""Runs side by side: scores, facts, and the settings in which they differ."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from jepa.probes.metrics import HIGHER_IS_BETTER, MAE, R2
from jepa.probes.table import PRETRAINED
from jepa.programs.page import fact
from jepa.programs.run_results import RunResults, Score, What

NOTHING = "–"
WORDS = ("head", "features", "measure")  # columns that are read, not compared


@dataclass(frozen=True, slots=True)
class Line:
    """One score of every column; None where a run does not have it."""

    what: What
    scores: tuple[Score | None, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """One fact or setting of every run; None where a run does not have it."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs side by side."""

    runs: tuple[str, ...]
    columns: tuple[str, ...]
    """Of the scores: the runs, or one for their mean."""
    scores: tuple[Line, ...]
    facts: tuple[Values, ...]
    differences: tuple[Values, ...]
    """Settings by dotted path; only those that differ."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; a number that is not finite becomes None."""
        return {
            "runs": list(self.runs),
            "columns": list(self.columns),
            "scores": [
                asdict(line.what) | {"scores": [_plain(score) for score in line.scores]}
                for line in self.scores
            ],
            "facts": {one.name: list(one.values) for one in self.facts},
            "differences": {one.name: list(one.values) for one in self.differences},
        }

    def tables(self) -> list[dict[str, Any]]:
        """Return what is shown, as text: a title, columns, and rows of which those of the model are strong."""
        scores = [
            {
                "strong": line.what.features in (PRETRAINED, ""),
                "values": [
                    *(line.what.task, line.what.head, line.what.features, line.what.measure),
                    *(self._shown(score, line.what.measure) for score in line.scores),
                ],
            }
            for line in self.scores
        ]
        note = (
            "Shares in percent; ± is the standard deviation over seeds or runs, in brackets 95 % intervals."
        )
        found = [
            {
                "title": "Scores",
                "note": note,
                "columns": ["task", "head", "features", "measure", *self.columns],
                "rows": scores,
            },
            {"title": "Runs", "note": "", "columns": ["fact", *self.runs], "rows": _rows(self.facts, _fact)},
        ]
        if self.differences:
            settings = _rows(self.differences, lambda _, value: NOTHING if value is None else str(value))
            found.append(
                {
                    "title": "Settings that differ",
                    "note": "",
                    "columns": ["setting", *self.runs],
                    "rows": settings,
                }
            )
        return [one for one in found if one["rows"]]

    def _shown(self, score: Score | None, measure: str) -> str:
        """Write a score, and for a mean that some runs have no part in, of how many it is."""
        text = written(score, measure)
        if score is None or self.columns == self.runs or score.count == len(self.runs):
            return text
        return f"{text} ({score.count} of {len(self.runs)})"

    def render(self) -> Group:
        """Return the tables for a terminal."""
        drawn = []
        for one in self.tables():
            table = Table(title=one["title"], caption=one["note"] or None)
            for number, name in enumerate(one["columns"]):
                table.add_column(Text(name), justify="left" if number == 0 or name in WORDS else "right")
            for row in one["rows"]:
                table.add_row(*map(Text, row["values"]), style="bold" if row["strong"] else None)
            drawn.append(table)
        return Group(*drawn)


def lay_side_by_side(results: Sequence[RunResults], *, mean: bool = False) -> Comparison:
    """Bring the results of several runs to common rows; with ``mean`` their scores become mean and deviation.

    Rows are sorted by task and head as they first appear; within each the pretrained row is first.
    """
    names = distinct_names(results)
    lines = []
    for what in _in_order(results):
        scores = tuple(one.scores.get(what) for one in results)
        lines.append(Line(what, (_mean(scores),) if mean else scores))
    columns = (f"mean of {len(results)} runs",) if mean else names
    facts = tuple(
        Values(name, tuple(one.facts.get(name) for one in results))
        for name in dict.fromkeys(name for one in results for name in one.facts)
    )
    return Comparison(names, columns, tuple(lines), facts, tuple(_differences(results)))


def distinct_names(results: Sequence[RunResults]) -> tuple[str, ...]:
    """Name runs by their folders, with as many parents as it takes to tell them apart."""
    paths = [one.root.resolve().parts for one in results]
    longest = max(len(parts) for parts in paths)
    for depth in range(1, longest + 1):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(set(paths)):
            break
    return tuple(names)


def written(score: Score | None, measure: str) -> str:
    """Write a score: 74.5 ± 2.8, or 74.5 [70.1, 78.2]; accuracies and the like in percent."""
    if score is None or not math.isfinite(score.value):
        return NOTHING
    is_share = measure in HIGHER_IS_BETTER and measure not in (R2, MAE)
    scale, digits = (100, 1) if is_share else (1, 3)
    text = f"{scale * score.value:.{digits}f}"
    if score.deviation is not None:
        return f"{text} ± {scale * score.deviation:.{digits}f}"
    if score.low is None or score.high is None or not score.low < score.high:
        return text
    return f"{text} [{scale * score.low:.{digits}f}, {scale * score.high:.{digits}f}]"


def _in_order(results: Sequence[RunResults]) -> list[What]:
    """Return every score that any run has, in the order of the tables."""
    every = list(dict.fromkeys(what for one in results for what in one.scores))
    tasks, heads, features = (
        (
            list(dict.fromkeys(values))
            for values in zip(*((one.task, one.head, one.features) for one in every), strict=True)
        )
        if every
        else ([], [], [])
    )
    heads.sort(key=lambda head: head == "")  # what nothing was fitted for comes last
    features.sort(key=lambda name: name != PRETRAINED)
    return sorted(
        every,
        key=lambda one: (tasks.index(one.task), heads.index(one.head), features.index(one.features)),
    )


def _mean(scores: Iterable[Score | None]) -> Score | None:
    """Return mean and standard deviation over the runs that have the score."""
    values = [score.value for score in scores if score is not None]
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Score(statistics.fmean(values), deviation=deviation, count=len(values))


def _differences(results: Sequence[RunResults]) -> Iterable[Values]:
    """Find the settings that differ; those of training are only compared between runs that train."""
    for key in dict.fromkeys(key for one in results for key in one.settings):
        kinds = {one.is_training for one in results if key in one.settings}
        comparable = [one.settings.get(key) for one in results if one.settings and one.is_training in kinds]
        if any(value != comparable[0] for value in comparable):
            yield Values(key, tuple(one.settings.get(key) for one in results))


def _plain(score: Score | None) -> Mapping[str, Any] | None:
    """Return a score as JSON can hold it."""
    if score is None:
        return None
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(score).items()
    }


def _rows(lines: Sequence[Values], write: Callable[[str, object], str]) -> list[dict[str, Any]]:
    """Write facts or settings, one line each."""
    return [
        {
            "strong": False,
            "values": [one.name, *(write(one.name, value) for value in one.values)],
        }
        for one in lines
    ]


def _fact(name: str, value: object) -> str:
    """Write a fact."""
    return NOTHING if value is None else fact(name, value)
