"""`jepa compare`: several runs side by side, on a terminal and as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from jepa.errors import RunError
from jepa.programs.comparison import Comparison, lay_side_by_side
from jepa.programs.page import is_number, render
from jepa.programs.run_results import load_results
from jepa.runtime.charts import Series, line_chart
from jepa.runtime.metrics import read_metrics
from jepa.runtime.run_dir import RunDir, write_text

CURVES = {"Loss": "loss", "k-NN accuracy": "knn_accuracy", "Effective rank": "effective_rank"}


def compare(runs: Sequence[Path | str], *, mean: bool = False, html: Path | str | None = None) -> Comparison:
    """Put the leading measures, the facts and the differing settings of several finished runs side by side.

    ``mean`` takes the runs for seeds of one thing: their scores become mean and standard deviation. ``html`` writes
    the same tables, and the training curves laid over each other, to a page. Raises RunError for what is no
    finished run, and when there is nothing to compare.
    """
    if len(runs) < (2 if mean else 1):
        raise RunError(
            f"{'a mean' if mean else 'a comparison'} needs {'two runs or more' if mean else 'a run'}, got {len(runs)}; "
            "give their run directories"
        )
    found = lay_side_by_side([load_results(run) for run in runs], mean=mean)
    if html is not None:
        write_comparison(Path(html), found, runs)
    return found


def write_comparison(path: Path, found: Comparison, runs: Sequence[Path | str]) -> None:
    """Write the page: the tables, and the curves of the runs that logged any."""
    metrics = [read_metrics(RunDir(run).metrics) for run in runs]
    logged = [(name, rows) for name, rows in zip(found.runs, metrics, strict=True) if rows]
    charts = [
        line_chart(
            title, [_series(run, rows, name) for run, rows in logged]
        )  # one colour per run in all charts
        for title, name in CURVES.items()
        if any(is_number(row.get(name)) for _, rows in logged for row in rows)
    ]
    title = " · ".join(found.runs) if len(found.runs) <= 4 else f"{len(found.runs)} runs"
    path.parent.mkdir(parents=True, exist_ok=True)
    context = {"title": title, "tables": found.tables(), "charts": [Markup(svg) for svg in charts]}
    write_text(path, render("compare.html.j2", context))


def _series(run: str, rows: Sequence[Mapping[str, Any]], name: str) -> Series:
    """Collect one metric of one run."""
    logged = [row for row in rows if is_number(row.get(name))]
    return Series(run, [float(row["step"]) for row in logged], [float(row[name]) for row in logged])
