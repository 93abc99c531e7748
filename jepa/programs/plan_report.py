"""report.html of an evaluation of planning: success, distance to the goal over time, episodes to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from jepa.config.plan import PlanConfig
from jepa.programs.measure_report import write_measure_report
from jepa.programs.plan_result import Row
from jepa.runtime.charts import Series, line_chart
from jepa.runtime.run_dir import RunDir

ABOUT = (
    "Every player plays the same episodes for a fixed number of steps. Starts and goals are none of training; the goal "
    "is given as an image, and it is reached where the environment's own rule of success says so when the steps are "
    "spent. Planners see images alone; only the row called simulator may ask the simulator while planning."
)


def write_plan_report(
    run: RunDir, config: PlanConfig, rows: Sequence[Row], table: Table, films: Mapping[str, Path]
) -> Path:
    """Write report.html; return its path. ``films`` are animations by player."""
    lines = [
        Series(row.player, [float(step) for step in range(len(row.distances))], list(row.distances))
        for row in rows
    ]
    kind = "" if config.env is None else config.env.kind
    return write_measure_report(
        run,
        title=f"Planning in {kind}: {run.root.resolve().name}",
        about=ABOUT,
        tables=[table],
        charts={
            "distance": line_chart(
                "Mean distance to the goal", lines, x_label="environment step", from_zero=True
            )
        },
        pictures={f"Episodes of {player}, above their goals": path for player, path in films.items()},
    )
