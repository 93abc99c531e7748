"""The root of all verbs, and what they share."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from jepa import __version__
from jepa.runtime.interrupts import INTERRUPTED, inside_job

app = typer.Typer(
    name="jepa",
    help="JEPA: video files in, a frozen encoder out, a probe number to trust, and a planner that acts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of one in configs/.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change a config value; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]
RunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", metavar="DIR", help="Where the run goes; replaces run_dir of the config."),
]

Processes = Annotated[
    int,
    typer.Option(
        "--processes",
        min=1,
        metavar="N",
        help="Train with so many processes of this machine, a GPU for each.",
    ),
]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version when asked."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def answer(as_json: bool, result: dict[str, Any], text: RenderableType | None) -> None:
    """Print the result for a machine or for a person; inside a job, an interrupted one asks to be started again."""
    if os.environ.get("RANK", "0") != "0":  # of processes that train together, the first one speaks
        pass
    elif as_json:
        typer.echo(json.dumps(result))
    elif isinstance(text, str):
        typer.echo(text)
    elif text is not None:
        from jepa.runtime.terminal import table_console

        table_console().print(text)
    if result.get("status") == "interrupted" and inside_job():
        raise typer.Exit(INTERRUPTED)


def together(processes: int) -> None:
    """Start this command again as several processes, where that is asked for, and end with them."""
    from jepa.runtime.together import command_again, is_one_of_several, run_together

    if processes > 1 and not is_one_of_several():
        raise typer.Exit(run_together(processes, command_again()))


def quoted(key: str, value: object) -> str:
    """Write an override whose value YAML must not reinterpret: a folder called 1 stays a name."""
    return f"{key}={json.dumps(str(value))}"
