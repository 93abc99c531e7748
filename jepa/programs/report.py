"""report.html of a training run: everything it has to show, in one file that loads nothing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.table import Table

from jepa.probes.table import PRETRAINED, ProbeTable
from jepa.probes.verdict import verdicts
from jepa.programs.measure_report import plain
from jepa.programs.page import Picture, facts_of, is_number, keep_charts, keep_picture, render, words
from jepa.programs.probe_tables import confusion_context, table_context
from jepa.runtime.charts import Series, line_chart
from jepa.runtime.metrics import read_metrics
from jepa.runtime.run_dir import RunDir, write_text

MOST_BAD_FILES = 200


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: which metrics it takes, by shell patterns."""

    title: str
    metrics: tuple[str, ...]
    log: bool = False
    from_zero: bool = False


SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Training": (
        Panel("Loss", ("loss", "*_loss", "loss_*")),
        Panel("Learning rate", ("learning_rate", "lr")),
        Panel("Momentum of the target encoder", ("momentum",)),
        Panel("Gradient norm", ("grad_norm", "gradient_norm"), log=True),
        Panel("Weight decay", ("weight_decay",), from_zero=True),
    ),
    "Health": (
        Panel("Standard deviation of features", ("*_std", "std_*"), from_zero=True),
        Panel("Effective rank", ("effective_rank*", "*_rank"), from_zero=True),
        Panel("k-NN accuracy", ("knn*",), from_zero=True),
        Panel("Share of tokens", ("context_*", "target_fraction"), from_zero=True),
    ),
    "Speed": (
        Panel("Clips per second", ("clips_per_s*",), from_zero=True),
        Panel("Share of the time spent waiting for data", ("data_wait*",), from_zero=True),
        Panel("Seconds between two log lines", ("seconds",), from_zero=True),
        Panel("Files that could not be read", ("bad_files",), from_zero=True),
    ),
}


def write_report(
    run: RunDir,
    summary: Mapping[str, Any],
    tables: Sequence[ProbeTable] = (),
    *,
    pictures: Mapping[str, Picture | None] | None = None,
    measures: Sequence[Table] = (),
    drawn: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write report.html and the charts and pictures under plots/; return the report's path.

    ``summary`` shows its plain values as facts at the top. Configuration, metrics and bad files are read from the
    run directory. ``pictures`` are among contact_sheet, feature_maps and imagined. ``measures`` are tables as they
    stand on the terminal, ``drawn`` their charts. ``notes`` are sentences a reader must not miss, such as a collapse
    warning.
    """
    run.create()
    metrics = read_metrics(run.metrics)
    charts = {section: dict(_charts(panels, metrics)) for section, panels in _sections(metrics).items()}
    bad_files = read_metrics(run.root / "bad_files.jsonl")
    context = {
        "title": run.root.resolve().name,
        "notes": notes,
        "facts": facts_of(summary),
        "verdicts": [verdict for table in tables for verdict in verdicts(table)],
        "tables": [_table(table) for table in tables],
        "measures": [plain(table) for table in measures],
        "drawn": keep_charts(run.plots, drawn or {}),
        "sections": [(name, keep_charts(run.plots, drawn)) for name, drawn in charts.items() if drawn],
        "images": {
            name: keep_picture(run.plots / f"{name}.png", image)
            for name, image in (pictures or {}).items()
            if image is not None
        },
        "bad_files": bad_files[:MOST_BAD_FILES],
        "bad_total": len(bad_files),
        "config_yaml": run.config.read_text(encoding="utf-8"),
    }
    write_text(run.report, render("report.html.j2", context))
    return run.report


def _sections(metrics: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Panel, ...]]:
    """Return the fixed sections, and one more with every numeric metric that none of them takes."""
    patterns = [pattern for panels in SECTIONS.values() for panel in panels for pattern in panel.metrics]
    names = dict.fromkeys(key for row in metrics for key, value in row.items() if is_number(value))
    rest = [n for n in names if n != "step" and not any(fnmatch(n, pattern) for pattern in patterns)]
    return SECTIONS | {"Other signals": tuple(Panel(words(name), (name,)) for name in rest)}


def _charts(panels: Iterable[Panel], metrics: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Draw each panel that has a metric to show: (title, svg)."""
    names = dict.fromkeys(key for row in metrics for key, value in row.items() if is_number(value))
    steps = [float(row["step"]) for row in metrics]
    for panel in panels:
        taken = [n for n in names if any(fnmatch(n, pattern) for pattern in panel.metrics)]
        series = [_series(name, metrics) for name in taken]
        if any(math.isfinite(y) for one in series for y in one.y):
            yield (
                panel.title,
                line_chart(
                    panel.title,
                    series,
                    log=panel.log,
                    from_zero=panel.from_zero,
                    x_range=(0.0, max(steps)),
                ),
            )


def _series(name: str, metrics: Sequence[Mapping[str, Any]]) -> Series:
    """Collect one metric; a step that did not measure it is no gap, a value that is not finite is one."""
    rows = [row for row in metrics if is_number(row.get(name))]
    return Series(words(name), [float(row["step"]) for row in rows], [float(row[name]) for row in rows])


def _table(table: ProbeTable) -> dict[str, Any]:
    """Return what the page shows of one probe task."""
    best = table.find(PRETRAINED)
    confusion = None if best is None else confusion_context(best.confusion, table.classes)
    return table_context(table) | {"confusion": confusion, "head": "" if best is None else best.head}
