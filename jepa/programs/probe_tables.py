"""What the pages show of a probe table: its lines, its bars, and who was taken for whom."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from jepa.probes.metrics import HIGHER_IS_BETTER, MAE, R2
from jepa.probes.table import PRETRAINED, ProbeRow, ProbeTable, shown_choice, shown_value
from jepa.probes.verdict import measure_of

MOST_CLASSES = 20  # a larger confusion matrix is unreadable
MOST_PAIRS = 15


def table_context(table: ProbeTable) -> dict[str, Any]:
    """Return what the template shows of one probe table."""
    measure, headline = measure_of(table), table.headline()
    sizes = f"{table.train_size:,} to fit, {table.test_size:,} held out"
    sizes += f", {len(table.classes)} classes" if table.kind != "values" else ""
    spread = (
        f"Numbers are mean ± standard deviation over {table.seeds} seeds."
        if table.seeds > 1
        else "In brackets are 95 % bootstrap intervals over the held-out videos."
    )
    return {
        "task": table.task,
        "sizes": f"{sizes}. {spread}",
        "columns": [name if name in (R2, MAE) else f"{name} %" for name in table.metrics],
        "bars": measure,
        "has_bars": HIGHER_IS_BETTER[measure],
        "has_pale": len(headline) < len(table.rows),
        "rows": [_line(table, row, measure, is_headline=row in headline) for row in table.rows],
    }


def confusion_context(matrix: Tensor | None, classes: Sequence[str]) -> dict[str, Any] | None:
    """Return a small confusion matrix whole, and of a large one the most confused pairs; None without one."""
    if matrix is None:
        return None
    counts = matrix.tolist()
    if len(counts) <= MOST_CLASSES:
        cells = [[{"count": n, "share": n / max(1, sum(row))} for n in row] for row in counts]
        return {"classes": list(classes), "cells": cells, "pairs": []}
    return {"classes": list(classes), "cells": [], "pairs": confused_pairs(counts, classes)}


def confused_pairs(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the most frequent errors, the largest first: true class, answer, how often, and of how many."""
    wrong = [
        (-n, true, answer)
        for true, row in enumerate(counts)
        for answer, n in enumerate(row)
        if n and true != answer
    ]
    return [
        {"true": classes[true], "answer": classes[answer], "count": -n, "total": sum(counts[true])}
        for n, true, answer in sorted(wrong)[:MOST_PAIRS]
    ]


def _line(table: ProbeTable, row: ProbeRow, measure: str, *, is_headline: bool) -> dict[str, Any]:
    """Return one line of a probe table; ``share`` is the length of its bar, from 0 to 1."""
    value = row.mean(measure)
    return {
        "name": row.name,
        "head": row.head,
        "pooling": row.pooling or "",
        "values": [shown_value(row, name, with_range=name == table.metric) for name in table.metrics],
        "share": min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0,
        "chosen": shown_choice(row),
        "is_headline": is_headline,
        "is_pretrained": row.name == PRETRAINED,
    }
