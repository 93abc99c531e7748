"""Planning where no simulator exists: are the recorded actions found between recorded frames?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

import jepa
from jepa.config.plan import PlanConfig, RecordedGoals
from jepa.config.planning import PlannerConfig
from jepa.config.world_model import WorldModelConfig
from jepa.data.trajectories.episodes import open_episodes
from jepa.data.trajectories.windows import all_windows
from jepa.errors import DataError
from jepa.models.world_model import LatentWorldModel
from jepa.planning.build import build_cost, build_solver
from jepa.planning.costs import Cost, Imagined
from jepa.planning.spaces import BoxSpace
from jepa.probes.recovery import Landscape, Recovery, landscape, recovery
from jepa.programs.measure_report import write_measure_report
from jepa.programs.world_model_report import error_chart, error_table, prediction_errors
from jepa.runtime.heatmap import Mark, heatmap
from jepa.runtime.run_dir import RunDir, commit
from jepa.runtime.seeding import generator
from jepa.runtime.terminal import Progress
from jepa.types import Windows

RANDOM, MEAN = "random action", "mean action"
AT_ONCE = 16  # pairs that are planned together
LANDSCAPE_PAIRS = 64
ABOUT = (
    "Recorded episodes that were kept from training. A planner gets a frame, and a later one as its goal; its actions "
    "are compared with those that the recording took in between, in deviations of the recorded actions. Several ways "
    "may lead to one goal, so that not even a perfect model recovers them all."
)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Starts, goals and what was done in between."""

    start: Tensor  # (B, 1, N, D)
    goal: Tensor  # (B, N, D)
    actions: Tensor  # (B, H, A)
    proprio: Tensor | None  # (B, 1, P)


def plan_offline(
    config: PlanConfig, world_model: LatentWorldModel, trained: WorldModelConfig, run: RunDir
) -> dict[str, Any]:
    """Compare planned with recorded actions and draw the energy around these; return the contents of summary.json.

    Raises DataError where no test episode is long enough.
    """
    goals = config.goals
    assert isinstance(goals, RecordedGoals)
    errors = prediction_errors(world_model, trained)
    pairs = _pairs(config, world_model, trained, goals.ahead)
    each = BoxSpace(world_model.scaling.action_low, world_model.scaling.action_high)
    space = each.tile(world_model.frame_skip)
    std = world_model.scaling.action_std.repeat(world_model.frame_skip)
    found = {
        RANDOM: recovery(_drawn(space, pairs, config.seeds[0]), pairs.actions, std=std),
        MEAN: recovery(_mean(world_model, pairs), pairs.actions, std=std),
    }
    fields = {}
    with Progress(len(config.planners), unit="planner") as progress:
        for number, planner in enumerate(config.planners, start=1):
            cost = build_cost(planner.costs, world_model, each)
            proposed = _planned(world_model, planner, cost, space, pairs, config.seeds[0])
            found[planner.name] = recovery(proposed, pairs.actions, std=std)
            fields[planner.name] = _field(world_model, cost, pairs, std)
            progress.update(number, {})
        summary = {
            "model": config.model,
            "pairs": len(pairs.actions),
            "ahead": goals.ahead,
            "version": jepa.__version__,
            "commit": commit(),
            "prediction": errors.to_dict(),
            "recovery": {name: one.to_dict() for name, one in found.items()},
            "landscape": {name: one.to_dict() for name, one in fields.items()},
        }
        run.write_summary(summary)
        tables = [_table(found, goals.ahead, len(pairs.actions)), error_table(errors)]
        charts = {"prediction": error_chart(errors)} | {
            f"energy {name}": _draw(name, field) for name, field in fields.items()
        }
        write_measure_report(
            run,
            title=f"Planning between recorded frames: {run.root.resolve().name}",
            about=ABOUT,
            tables=tables,
            charts=charts,
        )
        for table in tables:
            progress.console.print(table)
        progress.note(f"report: {run.report}")
    return summary


def _pairs(config: PlanConfig, world_model: LatentWorldModel, trained: WorldModelConfig, ahead: int) -> Pairs:
    """Choose pairs of test frames, ``config.episodes`` in all or as many as there are, and encode them."""
    data = trained.data
    episodes = open_episodes(data.sources, test_fraction=data.test_fraction, proprio=data.proprio)
    windows = [
        w
        for batch in all_windows(episodes.test, data, window=ahead + 1)
        for w in batch.split(len(batch.frames))
    ]
    if not windows:
        raise DataError(
            f"no test episode has {ahead} model steps of {data.frame_skip} environment steps; lower goals.ahead"
        )
    order = torch.randperm(len(windows), generator=generator(config.seeds[0], "pairs"))[: config.episodes]
    chosen = [windows[int(place)] for place in order]
    return _encoded(world_model, chosen)


@torch.inference_mode()
def _encoded(world_model: LatentWorldModel, windows: list[Windows]) -> Pairs:
    """Encode the first and the last frame of each window."""
    parts = []
    for window in windows:
        ends = window.frames[:, [0, -1]].movedim(2, -1)  # (1, 2, H, W, 3)
        parts.append(world_model.encode(ends))
    z = torch.cat(parts)  # (B, 2, N, D)
    proprio = None
    if windows[0].proprio is not None:
        proprio = torch.cat([w.proprio[:, :1] for w in windows if w.proprio is not None]).to(z.device)
    return Pairs(z[:, :1], z[:, 1], torch.cat([w.actions for w in windows]).to(z.device), proprio)


def _drawn(space: BoxSpace, pairs: Pairs, seed: int) -> Tensor:
    """Draw actions between the bounds, each as likely: (B, H, A)."""
    noise = torch.randn(pairs.actions.shape, generator=generator(seed, "random actions"))
    return space.actions(space.uniform(noise.to(space.device)))


def _mean(world_model: LatentWorldModel, pairs: Pairs) -> Tensor:
    """Return the mean action of the training episodes: (B, H, A)."""
    return world_model.scaling.action_mean.repeat(world_model.frame_skip).expand_as(pairs.actions)


def _energy(
    world_model: LatentWorldModel, cost: Cost, pairs: Pairs, rows: slice
) -> Callable[[Tensor], Tensor]:
    """Return the cost of candidates (b, S, H, A) for the pairs ``rows``."""
    start, goal = pairs.start[rows], pairs.goal[rows]
    proprio = None if pairs.proprio is None else pairs.proprio[rows]

    def energy(actions: Tensor) -> Tensor:
        imagined = world_model.rollout(start, actions, proprio=proprio)
        return cost(Imagined(imagined, actions, start=start[:, -1], goal=goal))

    return energy


def _planned(
    world_model: LatentWorldModel,
    planner: PlannerConfig,
    cost: Cost,
    space: BoxSpace,
    pairs: Pairs,
    seed: int,
) -> Tensor:
    """Plan from every start to its goal: (B, H, A)."""
    solver, plans = build_solver(planner.solver), []
    for first in range(0, len(pairs.actions), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        batch = len(pairs.actions[rows])
        plans.append(
            solver.solve(
                _energy(world_model, cost, pairs, rows),
                horizon=pairs.actions.shape[1],
                action_space=space,
                batch=batch,
                generator=[generator(seed, "plan", first + row) for row in range(batch)],
            ).actions
        )
    return torch.cat(plans)


def _field(world_model: LatentWorldModel, cost: Cost, pairs: Pairs, std: Tensor) -> Landscape:
    """Measure the energy over the two numbers of the action that vary most, one pair after another."""
    varied = pairs.actions.flatten(0, 1).std(0).argsort(descending=True).tolist()
    axes = (varied[0], varied[min(1, len(varied) - 1)])
    few = range(0, min(LANDSCAPE_PAIRS, len(pairs.actions)))

    def energy(actions: Tensor) -> Tensor:
        rows = [_energy(world_model, cost, pairs, slice(row, row + 1))(actions[row : row + 1]) for row in few]
        return torch.cat(rows)

    return landscape(energy, pairs.actions[: len(few)], axes=axes, reach=2 * std[list(axes)])


def _table(found: Mapping[str, Recovery], ahead: int, pairs: int) -> Table:
    """Return the table of action recovery."""
    table = Table(
        title="action recovery",
        caption=f"{pairs} pairs of test frames, {ahead} model steps apart; absolute differences to the recorded "
        "actions, in deviations of these",
    )
    for column in ("proposed by", "each action", "first action", "mean over the steps"):
        table.add_column(column, justify="left" if column == "proposed by" else "right")
    for name, one in found.items():
        cells = (f"{value:.3f}" for value in (one.each, one.first, one.total))
        table.add_row(name, *cells, style=None if name in (RANDOM, MEAN) else "bold")
    return table


def _draw(name: str, field: Landscape) -> str:
    """Draw the energy around the recorded action."""
    return heatmap(
        f"Energy around the recorded action, {name}",
        *field.offsets,
        field.energy,
        x_label=f"added to action {field.axes[0]}",
        y_label=f"added to action {field.axes[1]}",
        marks=(Mark("recorded", 0.0, 0.0, "#ffffff"), Mark("lowest energy", *field.lowest, "#d55e00")),
    )
