"""Verbs that look after what runs: jobs, and runs while they train."""

from pathlib import Path
from typing import Annotated

import typer

from jepa.cli.app import Json, answer, app


@app.command()
def jobs(
    cancel: Annotated[
        str | None, typer.Option("--cancel", metavar="ID|all", help="End a job, an array, or all that run.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that ended long ago.")] = False,
    as_json: Json = False,
) -> None:
    """List the jobs that were submitted with --slurm, with their state and last step; or cancel them."""
    from jepa.programs.jobs import cancel_jobs, render
    from jepa.programs.jobs import jobs as run

    found = run(everything=everything) if cancel is None else cancel_jobs(cancel)
    answer(as_json, {"jobs": [job.to_dict() for job in found]}, render(found))


@app.command()
def watch(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of runs.")],
    once: Annotated[bool, typer.Option("--once", help="Show the runs as they are, and exit.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 1.0,
    as_json: Json = False,
) -> None:
    """Follow runs while they train: curves, speed, each process's share, and what is wrong. Ctrl-C ends it."""
    from jepa.programs.watch import watch as run

    found = run(runs, once=once or as_json, every_s=every, quiet=as_json)
    if as_json:
        answer(True, {"runs": [one.to_dict() for one in found]}, None)
