"""report.html of a benchmark that is no probe: its tables as they stand on the terminal, its charts and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from jepa.programs.page import Picture, keep_charts, keep_picture, render, slug
from jepa.runtime.run_dir import RunDir, write_text


def write_measure_report(
    run: RunDir,
    *,
    title: str,
    about: str,
    tables: Sequence[Table],
    charts: Mapping[str, str] | None = None,
    pictures: Mapping[str, Picture] | None = None,
) -> Path:
    """Write report.html, and the charts (SVG, by name) and pictures under plots/; return the report's path."""
    run.create()
    kept = [
        (name, keep_picture(run.plots / f"{slug(name)}.png", one)) for name, one in (pictures or {}).items()
    ]
    context = {
        "title": title,
        "about": about,
        "tables": [plain(table) for table in tables],
        "charts": keep_charts(run.plots, charts or {}),
        "pictures": kept,
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
