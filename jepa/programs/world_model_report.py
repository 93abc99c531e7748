"""The end of a world model's training: how far its predictions hold, and what it imagines."""

from typing import Any

import torch
from PIL import Image
from rich.table import Table

import jepa
from jepa.config.world_model import WorldModelConfig
from jepa.data.trajectories.episodes import Episodes
from jepa.data.trajectories.windows import all_windows
from jepa.models.world_model import LatentWorldModel
from jepa.probes.imagination import HorizonErrors, horizon_errors
from jepa.programs.imagined import imagined_sheet
from jepa.programs.report import write_report
from jepa.runtime.charts import Series, line_chart
from jepa.runtime.metrics import read_metrics
from jepa.runtime.run_dir import RunDir, commit
from jepa.runtime.terminal import Progress
from jepa.types import Windows

SHEET_WINDOWS = 4


def finish_world_model(
    world_model: LatentWorldModel,
    config: WorldModelConfig,
    episodes: Episodes,
    run: RunDir,
    progress: Progress,
) -> dict[str, Any]:
    """Measure what the run learned and write it down; return the contents of summary.json."""
    world_model.eval()
    metrics = read_metrics(run.metrics)
    summary: dict[str, Any] = {
        "steps": config.optim.steps,
        "train_s": round(sum(line["seconds"] for line in metrics), 1),
        "episodes": len(episodes.train),
        "environment_steps": sum(map(len, episodes.train)),
        "test_episodes": len(episodes.test),
        "missing_episodes": len(episodes.missing),
        "version": jepa.__version__,
        "commit": commit(),
        "seed": config.seed,
        "last": metrics[-1] if metrics else {},
    }
    notes, tables, charts, sheet = [], [], {}, None
    least = measured_steps(config, world_model.history)
    if any(len(episode) >= least for episode in episodes.test):
        progress.note("measuring prediction errors on the episodes kept from training")
        errors = prediction_errors(world_model, config, episodes)
        summary["prediction"] = errors.to_dict()
        tables, charts = [error_table(errors)], {"prediction": error_chart(errors)}
        sheet = _sheet(world_model, config, episodes)
    else:
        notes.append(
            f"No episode was kept from training that has {least} steps, so prediction errors were not measured: raise "
            "data.test_fraction, or lower horizon."
        )
    run.write_summary(summary)
    write_report(run, summary, notes=notes, pictures={"imagined": sheet}, measures=tables, drawn=charts)
    for table in tables:
        progress.console.print(table)
    progress.note(f"report: {run.report}")
    return summary


def prediction_errors(
    world_model: LatentWorldModel, config: WorldModelConfig, episodes: Episodes
) -> HorizonErrors:
    """Measure the errors on the test episodes, over ``config.horizon`` model steps.

    Raises DataError where none is long enough (`measured_steps`), or none can be read.
    """
    context = world_model.history
    windows = all_windows(episodes.test, config.data, window=context + config.horizon)
    return horizon_errors(world_model, windows, context=context)


def measured_steps(config: WorldModelConfig, context: int) -> int:
    """Return the environment steps an episode must have to be measured: those of the context, and the horizon's."""
    return (context + config.horizon - 1) * config.data.frame_skip


def error_table(errors: HorizonErrors) -> Table:
    """Return errors at a few horizons for a terminal and the report."""
    horizon = len(errors.world_model)
    shown = sorted({step for step in (1, 2, 4, 8, 16, 32, 64, horizon) if step <= horizon})
    table = Table(
        title="prediction error against the horizon",
        caption=f"{errors.windows} windows of test episodes; squared latent error as a share of the latents' variance",
    )
    table.add_column("predicted by")
    for step in shown:
        table.add_column(f"step {step}", justify="right")
    for number, (name, line) in enumerate(errors.lines().items()):
        table.add_row(
            name, *(f"{line[step - 1]:.3g}" for step in shown), style="bold" if number == 0 else None
        )
    return table


def error_chart(errors: HorizonErrors) -> str:
    """Draw the errors as an ``<svg>`` element."""
    steps = [float(step + 1) for step in range(len(errors.world_model))]
    lines = [Series(name, steps, list(line)) for name, line in errors.lines().items()]
    return line_chart("Prediction error", lines, x_label="imagined model steps", from_zero=True)


def _sheet(world_model: LatentWorldModel, config: WorldModelConfig, episodes: Episodes) -> Image.Image:
    """Draw a few imagined futures of test episodes."""
    context = world_model.history
    data = config.data.model_copy(update={"batch_size": 1})
    least = measured_steps(config, context)
    long_enough = [episode for episode in episodes.test if len(episode) >= least]
    spread = max(1, len(long_enough) // SHEET_WINDOWS)
    several = [
        next(iter(all_windows([episode], data, window=context + config.horizon)))
        for episode in long_enough[::spread][:SHEET_WINDOWS]
    ]
    proprio = [one.proprio for one in several if one.proprio is not None]
    together = Windows(
        torch.cat([one.frames for one in several]),
        torch.cat([one.actions for one in several]),
        torch.cat(proprio) if proprio else None,
    )
    return imagined_sheet(world_model, episodes.train, together, context=context)
