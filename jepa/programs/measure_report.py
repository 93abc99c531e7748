"""report.html of a benchmark that is no probe: its tables as they stand on the terminal, its charts and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from jepa.programs.page import inlined, keep_charts, render
from jepa.runtime.run_dir import RunDir, write_text


def write_measure_report(
    run: RunDir,
    *,
    title: str,
    about: str,
    tables: Sequence[Table],
    charts: Mapping[str, str] | None = None,
    pictures: Mapping[str, Path] | None = None,
) -> Path:
    """Write report.html, with charts (SVG, by name; also under plots/) and pictures on disk; return its path."""
    run.create()
    context = {
        "title": title,
        "about": about,
        "tables": [plain(table) for table in tables],
        "charts": keep_charts(run.plots, charts or {}),
        "pictures": [(name, inlined(path)) for name, path in (pictures or {}).items()],
    }
    write_text(run.report, render("measure.html.j2", context))
    return run.report


def plain(table: Table) -> dict[str, Any]:
    """Return what a terminal table holds, as text."""
    columns = [list(column.cells) for column in table.columns]
    return {
        "title": str(table.title or ""),
        "caption": str(table.caption or ""),
        "columns": [str(column.header) for column in table.columns],
        "rows": [
            {"strong": bool(row.style), "values": [str(cell) for cell in cells]}
            for row, cells in zip(table.rows, zip(*columns, strict=True), strict=True)
        ],
    }
