"""`jepa watch`: runs while they train, drawn again and again on the terminal."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jepa.errors import RunError
from jepa.programs.watch_reading import RankView, RunReader, RunView
from jepa.runtime.sparkline import sparkline
from jepa.runtime.terminal import duration, number, table_console

CURVES = {
    "loss": "loss",
    "grad norm": "gradient_norm",
    "target std": "target_std",
    "eff. rank": "effective_rank",
    "k-NN": "knn_accuracy",
    "clips/s": "clips_per_s",
    "data wait": "data_wait",
}
NARROWEST = 38  # columns of a run beside others
FRAME, LABEL, VALUE = 4, 11, 9  # columns of a run's frame, its labels and its numbers
RANKS = 8  # of a run that are listed, the slowest


def watch(
    runs: Sequence[Path | str],
    *,
    once: bool = False,
    every_s: float = 1.0,
    quiet: bool = False,
    console: Console | None = None,
) -> list[RunView]:
    """Draw the runs every ``every_s`` seconds until Ctrl-C or until all have ended; return how they stand then.

    ``once`` draws them one time, as does an output that is no terminal; ``quiet`` draws nothing. Raises RunError for
    what is no directory.
    """
    folders = [run for run in map(Path, runs) if run.is_dir()]
    if missing := [str(run) for run in map(Path, runs) if not run.exists()]:
        raise RunError(f"{', '.join(missing)}: there is no such run; give run directories")
    if not folders:
        raise RunError("there is no run to watch: none of these is a directory")
    readers = [RunReader(folder) for folder in folders]
    views = [reader.look() for reader in readers]
    console = console or table_console()
    if quiet:
        return views
    if once or not console.is_terminal:
        console.print(draw(views, console.width))
        return views
    with Live(draw(views, console.width), console=console, auto_refresh=False, screen=False) as live:
        with suppress(KeyboardInterrupt):  # how a reader leaves
            while not all(view.finished for view in views):
                time.sleep(every_s)
                views = [reader.look() for reader in readers]
                live.update(draw(views, console.width), refresh=True)
    return views


def draw(views: Sequence[RunView], width: int) -> RenderableType:
    """Return the runs, side by side where ``width`` columns have room."""
    columns = max(1, min(len(views), width // NARROWEST))
    each = width // columns
    grid = Table.grid()
    for _ in range(columns):
        grid.add_column(width=each)
    for start in range(0, len(views), columns):
        grid.add_row(*(draw_run(view, each) for view in views[start : start + columns]))
    return grid


def draw_run(view: RunView, width: int) -> Panel:
    """Return one run in a frame of ``width`` columns."""
    parts: list[RenderableType] = [Text(headline(view), no_wrap=True, overflow="ellipsis")]
    if view.rows:
        parts.append(curves(view, width - FRAME))
    if view.ranks:
        parts.append(rank_table(view.ranks))
    parts += [Text(f"! {warning}", style="yellow") for warning in view.warnings]
    style = "yellow" if view.warnings else "green" if view.finished else "none"
    title = Text(Path(view.run).name or view.run, no_wrap=True, overflow="ellipsis")
    return Panel(Group(*parts), title=title, border_style=style, width=width)


def headline(view: RunView) -> str:
    """Say how far the run is."""
    if view.step is None:
        return "no metrics yet"
    done = f"step {view.step:,}"
    if view.steps:
        done += f"/{view.steps:,}  {100 * view.step / view.steps:.0f}%"
    if view.finished:
        return f"{done}  done"
    return f"{done}  eta {duration(view.eta_s)}" if view.eta_s is not None else done


def curves(view: RunView, width: int) -> Table:
    """Return a line for every signal that the run logs: its name, its curve, its last value."""
    grid = Table.grid()
    room = max(4, width - LABEL - VALUE)
    for columns in (LABEL, room, VALUE):
        grid.add_column(width=columns, no_wrap=True)
    for label, name in CURVES.items():
        if values := view.curve(name):
            grid.add_row(label, sparkline(values, room), Text(number(values[-1]), justify="right"))
    return grid


def rank_table(ranks: Sequence[RankView]) -> Table:
    """Return the processes of a run, the slowest first where there are many."""
    shown = (
        ranks if len(ranks) <= RANKS else sorted(ranks, key=lambda one: (not one.slow, -one.step_s))[:RANKS]
    )
    title = None if len(ranks) <= RANKS else f"the slowest {RANKS} of {len(ranks)} processes"
    table = Table(title=title, box=None, padding=(0, 1), pad_edge=False)
    for name in ("rank", "clips/s", "s/step", "data wait", ""):
        table.add_column(name, justify="right")
    for one in shown:
        numbers = (number(one.clips_per_s), number(one.step_s), f"{100 * one.data_wait:.0f}%")
        table.add_row(str(one.rank), *numbers, "slow" if one.slow else "", style="yellow" if one.slow else "")
    return table
