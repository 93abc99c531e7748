"""Verbs that train, and that look before training."""

from pathlib import Path
from typing import Annotated

import typer

from jepa.cli.app import Config, Json, Overrides, Processes, RunDirOption, answer, app, quoted, together
from jepa.cli.launch import launchable


@app.command()
@launchable
def pretrain(
    config: Config,
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    processes: Processes = 1,
    as_json: Json = False,
) -> None:
    """Pre-train an encoder; an unfinished run in the same directory is continued."""
    from jepa.config.load import load_config

    # A wrong config is answered before torch is imported.
    parsed = load_config(config, [*(overrides or []), *([quoted("run_dir", run_dir)] if run_dir else [])])
    together(processes)
    from jepa.programs.pretrain import pretrain as run

    result = run(parsed)
    answer(as_json, result.to_dict(), str(result))


@app.command()
def demo(
    directory: Annotated[Path, typer.Option("--dir", help="Where data and run go.")] = Path("jepa-demo"),
    seed: Annotated[
        int, typer.Option(help="Seed of weights, data order and masks; the videos stay the same.")
    ] = 0,
    plan: Annotated[
        bool, typer.Option("--plan", help="Collect episodes, train a world model, and plan with it instead.")
    ] = False,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Watch a JEPA learn on the CPU, from mp4 files or, with --plan, to act; and see what it learned (minutes)."""
    if plan:
        from jepa.programs.demo_plan import demo_plan

        found = demo_plan(directory, seed=seed, overrides=overrides or [])
        answer(as_json, {"status": found.status, "run_dir": str(found.plan), "summary": found.summary}, None)
        return
    from jepa.programs.demo import demo as run

    result = run(directory, seed=seed, overrides=overrides or [])
    answer(
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
    answer(as_json, {"findings": [finding.to_dict() for finding in findings]}, render(findings))
    if any(finding.failed for finding in findings):
        raise typer.Exit(1)


@app.command()
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|RUN|WEIGHTS", help="A config, a run directory, or weights of any format."
        ),
    ],
    hardware: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:COUNT",
            help="Estimate memory, time and communication of pre-training there, as in h100:64.",
        ),
    ] = None,
    mfu: Annotated[
        float, typer.Option(help="Share of the hardware's peak that matrix products are taken to reach.")
    ] = 0.4,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Say what a config, a run or a file of weights is; of pre-training, also what a step costs, and a whole run."""
    from jepa.programs.show import show as run

    shown = run(source, overrides or [], hardware=hardware, mfu=mfu)
    answer(as_json, shown.to_dict(), shown.render())
