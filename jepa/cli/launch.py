"""The options of jobs and sweeps, which all verbs that run long share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any

import typer

from jepa.cli.app import answer
from jepa.errors import ConfigError

PANEL = "Jobs and sweeps"


@dataclass(frozen=True)
class JobOptions:
    """What a user says of where, and how often, a verb runs."""

    slurm: Annotated[
        str | None,
        typer.Option(
            "--slurm",
            metavar="PARTITION",
            help="Submit to this partition of SLURM; local: to this machine, for trying it out.",
            rich_help_panel=PANEL,
        ),
    ] = None
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines.", rich_help_panel=PANEL)] = None
    gpus_per_node: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs of each machine, a process for each.", rich_help_panel=PANEL),
    ] = None
    cpus_per_task: Annotated[
        int | None, typer.Option(min=1, help="Cores of each process.", rich_help_panel=PANEL)
    ] = None
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time limit: minutes, H:MM:SS or D-HH:MM:SS (12 hours). The job requeues itself until it is done.",
            rich_help_panel=PANEL,
        ),
    ] = None
    mem: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory of each machine: 64G.", rich_help_panel=PANEL)
    ] = None
    account: Annotated[str | None, typer.Option(help="Whom SLURM charges.", rich_help_panel=PANEL)] = None
    qos: Annotated[str | None, typer.Option(help="Quality of service.", rich_help_panel=PANEL)] = None
    constraint: Annotated[
        str | None, typer.Option(help="Features that machines must have.", rich_help_panel=PANEL)
    ] = None
    slurm_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Any other option of sbatch, or setup='a line before the job'; may be repeated.",
            rich_help_panel=PANEL,
        ),
    ] = None
    job_name: Annotated[str | None, typer.Option(help="By default jepa-VERB.", rich_help_panel=PANEL)] = None
    follow: Annotated[
        bool | None,
        typer.Option(
            "--follow/--no-follow",
            help="Print the job's log until it ends (default). Ctrl-C ends the printing, not the job.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2",
            help="A run for each value; repeated: for each combination. A job array, or one after another.",
            rich_help_panel=PANEL,
        ),
    ] = None

    def refuse_without_slurm(self) -> None:
        """Raise ConfigError for options that say how a job runs when there is none."""
        given = [one.name for one in fields(self) if getattr(self, one.name) is not None]
        if self.slurm is None and (alone := [name for name in given if name not in ("slurm", "sweep")]):
            flags = ", ".join("--" + name.replace("_", "-") for name in alone)
            raise ConfigError(
                f"{flags}: only for jobs; add --slurm PARTITION (or --slurm local), or leave it out"
            )


def launchable(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of `JobOptions`; with --slurm it is submitted, with --sweep it is run several times."""

    @wraps(verb)
    def run(context: typer.Context, **given: Any) -> None:
        options = JobOptions(**{one.name: given.pop(one.name) for one in fields(JobOptions)})
        options.refuse_without_slurm()
        if options.slurm is None and not options.sweep:
            verb(**given)
        elif not launch(words_of(context), given, options):
            raise typer.Exit(1)

    own = list(inspect.signature(verb).parameters.values())
    added = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in inspect.signature(JobOptions).parameters.values()
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([context, *own, *added])  # type: ignore[attr-defined]  # inspect looks for it
    run.__annotations__ = {one.name: one.annotation for one in (context, *own, *added)}
    return run


def words_of(context: typer.Context) -> str:
    """Return the words of a verb: pretrain, or data collect."""
    words: list[str] = []
    while context.parent is not None:
        words.insert(0, str(context.command.name))
        context = context.parent  # type: ignore[assignment]  # typer's are of its own kind all the way up
    return " ".join(words)


def launch(verb: str, given: dict[str, Any], options: JobOptions) -> bool:
    """Submit or sweep, print what came of it, and return whether nothing failed."""
    from jepa.programs.launch import launch as run
    from jepa.runtime.slurm import Resources, read_arguments, read_minutes

    resources = None
    if options.slurm is not None:
        resources = Resources(
            partition=options.slurm,
            nodes=options.nodes or 1,
            gpus_per_node=options.gpus_per_node,
            cpus_per_task=options.cpus_per_task,
            minutes=Resources.minutes if options.time is None else read_minutes(options.time),
            memory=options.mem,
            account=options.account,
            qos=options.qos,
            constraint=options.constraint,
            job_name=options.job_name or f"jepa-{verb.replace(' ', '-')}",
            more=read_arguments(options.slurm_arg or ()),
        )
    launched = run(
        verb, given, sweep=options.sweep or (), resources=resources, follow=options.follow is not False
    )
    answer(given["as_json"], launched.to_dict(), launched.render())
    return launched.well
