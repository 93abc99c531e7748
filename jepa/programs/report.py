"""report.html: everything a run has to show, in one file that loads nothing."""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from jepa.probes.table import PRETRAINED, ProbeRow, ProbeTable
from jepa.probes.verdict import judge, measure_of
from jepa.runtime.charts import Series, line_chart
from jepa.runtime.metrics import read_metrics
from jepa.runtime.run_dir import RunDir, write_text
from jepa.runtime.terminal import duration

Picture = Image.Image | np.ndarray

MOST_CLASSES = 20  # a larger confusion matrix is unreadable
MOST_BAD_FILES = 200
WIDEST_PX = 1920  # twice the page's column, for dense screens


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


def write_report(  # noqa: PLR0913 (one keyword per part of the page)
    run_dir: Path | str,
    *,
    title: str,
    config_yaml: str,
    metrics: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    probe_tables: Sequence[ProbeTable] = (),
    contact_sheet: Picture | None = None,
    feature_maps: Picture | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write report.html and the charts and pictures under plots/; return the report's path.

    ``summary`` shows its plain values as facts at the top. Bad files are read from the run directory.
    ``notes`` are sentences a reader must not miss, such as a collapse warning.
    """
    run = RunDir(run_dir)
    run.create()
    pictures = {"contact_sheet": contact_sheet, "feature_maps": feature_maps}
    charts = {section: list(_charts(panels, metrics)) for section, panels in _sections(metrics).items()}
    for name, svg in (chart for drawn in charts.values() for chart in drawn):
        write_text(run.plots / f"{_slug(name)}.svg", svg)
    images = {
        name: _save(run.plots / f"{name}.png", image) for name, image in pictures.items() if image is not None
    }
    bad_files = read_metrics(run.root / "bad_files.jsonl")
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            notes=notes,
            facts=[(_words(key), _fact(key, value)) for key, value in summary.items() if _is_plain(value)],
            verdicts=[verdict for table in probe_tables if (verdict := judge(table)) is not None],
            tables=[_table_context(table) for table in probe_tables],
            sections=[(name, [Markup(svg) for _, svg in drawn]) for name, drawn in charts.items() if drawn],
            images=images,
            bad_files=bad_files[:MOST_BAD_FILES],
            bad_total=len(bad_files),
            config_yaml=config_yaml,
        )
    )
    write_text(run.report, page)
    return run.report


def _environment() -> jinja2.Environment:
    """Return the template engine; it escapes what is not marked safe and refuses unknown names."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _sections(metrics: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Panel, ...]]:
    """Return the fixed sections, and one more with every numeric metric that none of them takes."""
    patterns = [pattern for panels in SECTIONS.values() for panel in panels for pattern in panel.metrics]
    names = dict.fromkeys(key for row in metrics for key, value in row.items() if _is_number(value))
    rest = [n for n in names if n != "step" and not any(fnmatch(n, pattern) for pattern in patterns)]
    return SECTIONS | {"Other signals": tuple(Panel(_words(name), (name,)) for name in rest)}


def _charts(panels: Iterable[Panel], metrics: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Draw each panel that has a metric to show: (title, svg)."""
    names = dict.fromkeys(key for row in metrics for key, value in row.items() if _is_number(value))
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
    rows = [row for row in metrics if _is_number(row.get(name))]
    return Series(_words(name), [float(row["step"]) for row in rows], [float(row[name]) for row in rows])


def _table_context(table: ProbeTable) -> dict[str, Any]:
    """Return what the template shows of one probe table."""
    headline = table.headline()
    best = table.find(PRETRAINED)
    matrix = None if best is None or best.confusion is None else best.confusion.tolist()
    return {
        "task": table.task,
        "measure": measure_of(table),
        "sizes": f"{table.train_size:,} clips to fit, {table.test_size:,} held out",
        "rows": [_row_context(row, is_headline=row in headline) for row in table.rows],
        "confusion": _shaded(matrix) if matrix is not None and len(matrix) <= MOST_CLASSES else None,
        "classes": table.classes,
    }


def _row_context(row: ProbeRow, *, is_headline: bool) -> dict[str, Any]:
    """Return one line of a probe table."""
    return {
        "name": row.name,
        "pooling": row.pooling or "",
        "accuracy": 100 * row.accuracy,
        "balanced": 100 * row.balanced_accuracy,
        "decay": "" if row.weight_decay is None else f"{row.weight_decay:g}",
        "is_headline": is_headline,
        "is_pretrained": row.name == PRETRAINED,
    }


def _shaded(matrix: list[list[int]]) -> list[list[dict[str, Any]]]:
    """Return counts with their share of the true class, by which the cell is shaded."""
    return [[{"count": n, "share": n / max(1, sum(row))} for n in row] for row in matrix]


def _save(path: Path, picture: Picture) -> str:
    """Write a picture as PNG and return it as a data URI."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    if image.width > WIDEST_PX:
        image = image.resize(
            (WIDEST_PX, round(image.height * WIDEST_PX / image.width)), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", optimize=True)
    path.write_bytes(buffer.getvalue())
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _is_number(value: object) -> bool:
    """Say whether ``value`` can be drawn; True and False cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: object) -> bool:
    """Say whether ``value`` fits beside a word."""
    return isinstance(value, str | int | float | bool)


def _fact(key: str, value: object) -> str:
    """Write a fact for reading: seconds as a duration, whole numbers with commas, others in four digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and key.endswith(("seconds", "_s")) and "per_s" not in key:
        return duration(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(key: str) -> str:
    """Turn a metric's name into words: clips_per_s -> clips per s."""
    return key.replace("_", " ").replace("knn", "k-NN")


def _slug(title: str) -> str:
    """Turn a chart's title into a file name."""
    return "".join(c if c.isalnum() else "_" for c in title.lower()).strip("_")
