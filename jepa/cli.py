"""The front door: verbs, flags and exit codes; no logic.

Exit codes: 0 done (also: interrupted, with a checkpoint), 1 failed, 2 wrong usage or configuration.
Results go to stdout, everything else to stderr.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jepa import __version__
from jepa.errors import ConfigError, JepaError

app = typer.Typer(
    name="jepa",
    help="JEPA: video files in, a frozen encoder out, and a probe number to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Make and look at data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of one in configs/.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change a config value; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]
RunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", metavar="DIR", help="Where the run goes; replaces run_dir of the config."),
]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version when asked."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def pretrain(
    config: Config, overrides: Overrides = None, run_dir: RunDirOption = None, as_json: Json = False
) -> None:
    """Pre-train an encoder; an unfinished run in the same directory is continued."""
    from jepa.config.load import load_config

    # A wrong config is answered before torch is imported.
    parsed = load_config(
        config, [*(overrides or []), *([f"run_dir={json.dumps(str(run_dir))}"] if run_dir else [])]
    )
    from jepa.programs.pretrain import pretrain as run

    result = run(parsed)
    _answer(
        as_json,
        {
            "status": result.status,
            "step": result.step,
            "run_dir": str(result.run_dir),
            "summary": result.summary,
        },
        f"{result.status} at step {result.step}: {result.run_dir}",
    )


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where data and run go.")] = Path("jepa-demo"),
    seed: Annotated[
        int, typer.Option(help="Seed of weights, data order and masks; the videos stay the same.")
    ] = 0,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Watch a JEPA learn from generated mp4 files on the CPU, and see what it learned (minutes)."""
    from jepa.programs.demo import demo as run

    result = run(directory, seed=seed, overrides=overrides or [])
    _answer(
        as_json, {"status": result.status, "run_dir": str(result.run_dir), "summary": result.summary}, None
    )


@app.command()
def check(
    config: Annotated[str | None, typer.Argument(metavar="CONFIG", help="Also check this config.")] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Check the environment; with CONFIG also validate it, decode a batch and run one step."""
    from jepa.programs.check import check as run
    from jepa.programs.check import render

    findings = run(config, overrides or [])
    _answer(as_json, {"findings": [finding.to_dict() for finding in findings]}, render(findings))
    if any(finding.failed for finding in findings):
        raise typer.Exit(1)


@app.command()
def show(
    source: Annotated[str, typer.Argument(metavar="CONFIG|RUN", help="A config, or a run directory.")],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print the resolved config, parameters, tokens, FLOPs per step and a memory estimate."""
    from jepa.programs.show import render
    from jepa.programs.show import show as run

    shown = run(source, overrides or [])
    _answer(as_json, shown.to_dict(), render(shown))


@data_app.command()
def synth(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
    train: Annotated[int, typer.Option(help="Training videos.", min=1)] = 2048,
    test: Annotated[int, typer.Option(help="Held-out videos, from another seed.", min=1)] = 512,
    frames: Annotated[int, typer.Option(help="Frames per video.", min=2)] = 16,
    size: Annotated[int, typer.Option(help="Height and width in pixels (even).", min=16)] = 64,
    fps: Annotated[int, typer.Option(help="Frames per second.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the set.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Write H.264 videos of moving textured shapes, labelled by motion and by appearance."""
    from jepa.programs.data import synth as run

    counts = run(directory, train=train, test=test, frames=frames, size=size, fps=fps, seed=seed)
    _answer(as_json, counts, f"wrote {train} + {test} videos and 4 label lists to {directory}")


@data_app.command()
def inspect(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Folder of videos or images, or a list (.csv, .txt).")
    ],
    sheet: Annotated[Path, typer.Option("--sheet", help="Where the contact sheet (PNG) goes.")] = Path(
        "contact-sheet.png"
    ),
    as_json: Json = False,
) -> None:
    """Print counts, durations, frame rates and bad files of a source, and write a contact sheet."""
    from jepa.programs.data import inspect as run
    from jepa.programs.data import render

    summary = run(source, sheet)
    _answer(as_json, summary, render(summary))


def _answer(as_json: bool, result: dict[str, Any], text: str | None) -> None:
    """Print the result for a machine or for a person."""
    if as_json:
        typer.echo(json.dumps(result))
    elif text is not None:
        typer.echo(text)


def main() -> None:
    """Run the command line; every expected error becomes one message and an exit code."""
    try:
        app()
    except ConfigError as error:
        typer.echo(f"error in the configuration:\n{error}", err=True)
        sys.exit(2)
    except JepaError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
