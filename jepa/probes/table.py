"""One task as a table: encoder, untrained encoder, raw pixels, and answers without looking, for every head."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table
from torch import Tensor

from jepa.probes.metrics import MAE, R2, Measure, Task
from jepa.probes.trial import CHANCE, MAJORITY, TRAINING_MEAN, Trial

PRETRAINED, RANDOM_INIT, RAW_PIXELS = "pretrained", "random init", "raw pixels"
BLIND = (MAJORITY, CHANCE, TRAINING_MEAN)


@dataclass(frozen=True, slots=True, eq=False)  # compared as objects: a tensor has no single equality
class ProbeRow:
    """One line: who answered, through which head, and how well, for each seed."""

    name: str
    head: str  # empty where nothing was fitted
    pooling: str | None  # None where nothing was pooled
    measures: tuple[Mapping[str, Measure], ...]  # one per seed
    chosen: tuple[Mapping[str, float], ...] = ()
    confusion: Tensor | None = None  # of the first seed, (C, C) long; row: true class, column: answer

    def mean(self, name: str) -> float:
        """Return a measure, averaged over the seeds."""
        return statistics.fmean(one[name].value for one in self.measures)

    def deviation(self, name: str) -> float | None:
        """Return the standard deviation over seeds; None for a single one."""
        values = [one[name].value for one in self.measures]
        return statistics.stdev(values) if len(values) > 1 else None

    def interval(self, name: str) -> tuple[float, float]:
        """Return the 95 % bootstrap interval over videos, of the first seed."""
        first = self.measures[0][name]
        return first.low, first.high

    @classmethod
    def of(cls, name: str, head: str, pooling: str | None, trials: Sequence[Trial]) -> "ProbeRow":
        """Make the line of trials that differ in their seed."""
        measures, chosen = tuple(one.measures for one in trials), tuple(one.chosen for one in trials)
        return cls(name, head, pooling, measures, chosen, trials[0].confusion)


@dataclass(frozen=True, slots=True)
class ProbeTable:
    """All answers to one task; rows whose pooling is not the task's are recorded, but are no headline."""

    task: str
    kind: Task
    metric: str  # the measure that leads
    pooling: str
    classes: tuple[str, ...]  # names of classes, labels or numbers
    train_size: int  # entries
    test_size: int
    seeds: int
    rows: tuple[ProbeRow, ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads, in order."""
        return tuple(dict.fromkeys(row.head for row in self.rows if row.head))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the measures, the leading one first."""
        names = list(self.rows[0].measures[0])
        return tuple(sorted(names, key=lambda name: name != self.metric))

    def headline(self) -> tuple[ProbeRow, ...]:
        """Return the rows of the task's pooling, and those without any."""
        return tuple(row for row in self.rows if row.pooling in (None, self.pooling))

    def find(self, name: str, head: str | None = None) -> ProbeRow | None:
        """Return the headline row called ``name``, of ``head`` or of the first head, if the table has one."""
        wanted = (head or next(iter(self.heads), ""), "")
        return next((row for row in self.headline() if row.name == name and row.head in wanted), None)

    def led_by(self, metric: str) -> "ProbeTable":
        """Return the table with another measure in the lead."""
        return replace(self, metric=metric)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as summary.json holds them."""
        first = self.headline()
        return {
            "task": self.task,
            "kind": self.kind,
            "metric": self.metric,
            "pooling": self.pooling,
            "classes": list(self.classes),
            "train_size": self.train_size,
            "test_size": self.test_size,
            "seeds": self.seeds,
            "rows": [_row_dict(row, is_headline=row in first) for row in self.rows],
        }

    def render(self) -> Table:
        """Return the table for a terminal; the headline is bold, the other pooling dim."""
        caption = f"{self.train_size:,} to fit, {self.test_size:,} held out"
        caption += f", {len(self.classes)} classes" if self.kind != "values" else ""
        caption += (
            f", {self.seeds} seeds: mean ± sd"
            if self.seeds > 1
            else ", in brackets 95 % intervals over videos"
        )
        table = Table(title=f"{self.task}: frozen features", caption=caption)
        for column in ("features", "head", "pooled"):
            table.add_column(column)
        for name in self.metrics:
            table.add_column(name, justify="right")
        table.add_column("chosen", justify="right")
        first = self.headline()
        for row in self.rows:
            style = "dim" if row not in first else "bold" if row.name == PRETRAINED else None
            shown = [shown_value(row, name, with_range=name == self.metric) for name in self.metrics]
            table.add_row(row.name, row.head, row.pooling or "", *shown, shown_choice(row), style=style)
        return table


def shown_value(row: ProbeRow, name: str, *, with_range: bool = True) -> str:
    """Write a measure: 74.5 ± 2.8 over seeds, or 74.5 [70.1, 78.2]; shares in percent."""
    scale, digits = (1, 3) if name in (MAE, R2) else (100, 1)
    text = f"{scale * row.mean(name):.{digits}f}"
    spread = row.deviation(name)
    if spread is not None:
        return text if row.name in BLIND else f"{text} ± {scale * spread:.{digits}f}"
    low, high = row.interval(name)
    return (
        f"{text} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]" if with_range and low < high else text
    )


def shown_choice(row: ProbeRow) -> str:
    """Write what the validation part chose, over all seeds."""
    names = list(row.chosen[0]) if row.chosen else []
    values = {name: sorted({one[name] for one in row.chosen}) for name in names}
    return ", ".join(f"{name} {'/'.join(f'{value:g}' for value in found)}" for name, found in values.items())


def _row_dict(row: ProbeRow, *, is_headline: bool) -> dict[str, Any]:
    """Return one line as plain values; for each measure, value and interval per seed."""
    measures = {
        name: [
            {"value": _plain(one[name].value), "low": _plain(one[name].low), "high": _plain(one[name].high)}
            for one in row.measures
        ]
        for name in row.measures[0]
    }
    return {
        "name": row.name,
        "head": row.head,
        "pooling": row.pooling,
        "headline": is_headline,
        **{name.replace(" ", "_"): _plain(row.mean(name)) for name in row.measures[0]},
        "measures": measures,
        "chosen": [dict(one) for one in row.chosen],
        "confusion": None if row.confusion is None else row.confusion.tolist(),
    }


def _plain(value: float) -> float | None:
    """Return a number that JSON can hold; what is not defined, such as the interval of a single video, is None."""
    return value if math.isfinite(value) else None
