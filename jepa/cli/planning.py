"""Verbs that learn what actions do, and plan."""

from typing import Annotated

import typer

from jepa.cli.app import Config, Json, Overrides, Processes, RunDirOption, answer, app, quoted, together
from jepa.cli.launch import launchable


@app.command("world-model")
@launchable
def world_model(
    config: Config,
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    processes: Processes = 1,
    as_json: Json = False,
) -> None:
    """Train a world model on recorded episodes; an unfinished run in the same directory is continued."""
    from jepa.config.load import load_config
    from jepa.config.world_model import WorldModelConfig

    # A wrong config is answered before torch is imported.
    chosen = [*(overrides or []), *([quoted("run_dir", run_dir)] if run_dir else [])]
    parsed = load_config(config, chosen, schema=WorldModelConfig)
    together(processes)
    from jepa.programs.world_model import train_world_model as run

    result = run(parsed)
    answer(as_json, result.to_dict(), str(result))


@app.command()
@launchable
def plan(
    config: Config,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="RUN", help="A world model; replaces model of the config."),
    ] = None,
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    as_json: Json = False,
) -> None:
    """Plan with a world model, in an environment or between recorded frames, beside baselines."""
    from jepa.config.load import load_config
    from jepa.config.plan import PlanConfig

    chosen = [*(overrides or []), *([quoted("run_dir", run_dir)] if run_dir else [])]
    chosen += [quoted("model", model)] if model else []
    parsed = load_config(config, chosen, schema=PlanConfig)
    from jepa.programs.plan import plan as run

    result = run(parsed)
    answer(as_json, {"run_dir": str(result.run_dir), "summary": result.summary}, None)
