"""One probe task as a table: pretrained and random-init encoder, raw pixels, and answers without looking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from jepa.probes.checks import check_labels
from jepa.probes.features import Features
from jepa.probes.linear import LinearProbe, ProbeScore, accuracies, confusion

PRETRAINED, RANDOM_INIT, RAW_PIXELS = "pretrained", "random init", "raw pixels"
MAJORITY, CHANCE = "majority class", "chance"


@dataclass(frozen=True, slots=True, eq=False)  # compared as objects: a tensor has no single equality
class ProbeRow:
    """One line: who answered, from which pooling, and how well."""

    name: str
    pooling: str | None  # None where nothing was pooled
    accuracy: float
    balanced_accuracy: float
    weight_decay: float | None = None
    confusion: Tensor | None = None  # (C, C) long; row: true class, column: answer


@dataclass(frozen=True, slots=True)
class ProbeTable:
    """All answers to one task; rows whose pooling is not the task's are recorded, but are no headline."""

    task: str
    pooling: str
    classes: tuple[str, ...]
    train_size: int
    test_size: int
    rows: tuple[ProbeRow, ...]

    def headline(self) -> tuple[ProbeRow, ...]:
        """Return one row per name: the task's pooling, or the only one there is."""
        return tuple(row for row in self.rows if row.pooling in (None, self.pooling))

    def find(self, name: str) -> ProbeRow | None:
        """Return the headline row called ``name``, if the table has one."""
        return next((row for row in self.headline() if row.name == name), None)

    def named(self, classes: Sequence[str]) -> "ProbeTable":
        """Return the table with readable class names, in the order of the class numbers."""
        if len(classes) != len(self.classes):
            raise ValueError(f"task {self.task} has {len(self.classes)} classes, got {len(classes)} names")
        return replace(self, classes=tuple(classes))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as summary.json holds them."""
        rows = [
            {
                "name": row.name,
                "pooling": row.pooling,
                "headline": row in self.headline(),
                "accuracy": row.accuracy,
                "balanced_accuracy": row.balanced_accuracy,
                "weight_decay": row.weight_decay,
                "confusion": None if row.confusion is None else row.confusion.tolist(),
            }
            for row in self.rows
        ]
        return {
            "task": self.task,
            "pooling": self.pooling,
            "classes": list(self.classes),
            "train_size": self.train_size,
            "test_size": self.test_size,
            "rows": rows,
        }

    def render(self) -> Table:
        """Return the table for a terminal; the headline is bold, the other pooling dim."""
        caption = f"{self.train_size} clips to fit, {self.test_size} held out, {len(self.classes)} classes"
        table = Table(title=f"linear probe: {self.task}", caption=caption)
        table.add_column("features")
        table.add_column("pooled")
        for column in ("accuracy", "balanced", "weight decay"):
            table.add_column(column, justify="right")
        first = self.headline()
        for row in self.rows:
            style = "dim" if row not in first else "bold" if row.name == PRETRAINED else None
            decay = "" if row.weight_decay is None else f"{row.weight_decay:g}"
            table.add_row(
                row.name,
                row.pooling or "",
                f"{100 * row.accuracy:.1f}%",
                f"{100 * row.balanced_accuracy:.1f}%",
                decay,
                style=style,
            )
        return table


def probe_table(
    task: str,
    train: Mapping[str, Mapping[str, Features]],
    test: Mapping[str, Mapping[str, Features]],
    *,
    pooling: str,
    seed: int = 0,
) -> ProbeTable:
    """Fit one probe per row and pooling on ``train``, score it once on ``test``: row -> pooling -> features.

    Raises DataError as ``LinearProbe`` does, and ValueError when there is no row.
    """
    rows: list[ProbeRow] = []
    score, labels = None, None
    for name, pooled in train.items():
        for how, features in pooled.items():
            held_out = test[name][how]
            probe = LinearProbe(seed=seed).fit(features.values, features.labels, features.groups)
            score = probe.score(held_out.values, held_out.labels)
            labels = features.labels, held_out.labels
            rows.append(_row(name, how if len(pooled) > 1 or how == pooling else None, score))
    if score is None or labels is None:
        raise ValueError(f"task {task}: no features to probe")
    rows += _blind_rows(*labels, score.classes)
    rows.sort(key=lambda row: row.pooling not in (None, pooling))  # the headline first
    names = tuple(str(number) for number in score.classes)
    return ProbeTable(task, pooling, names, score.train_size, score.test_size, tuple(rows))


def _row(name: str, pooling: str | None, score: ProbeScore) -> ProbeRow:
    """Put a score into a line of the table."""
    return ProbeRow(
        name, pooling, score.accuracy, score.balanced_accuracy, score.weight_decay, score.confusion
    )


def _blind_rows(train: Tensor, test: Tensor, classes: Sequence[int]) -> list[ProbeRow]:
    """Return what is right without looking: always the training set's largest class, and a fair die."""
    _, fitted = check_labels(train, len(train), known=classes)
    _, target = check_labels(test, len(test), known=classes)
    largest = torch.full_like(target, int(torch.bincount(fitted).argmax()))
    right = accuracies(confusion(target, largest, len(classes)))
    return [
        ProbeRow(MAJORITY, None, *right),
        ProbeRow(CHANCE, None, 1 / len(classes), 1 / len(classes)),
    ]
