"""Planning where no simulator exists: are the recorded actions found between recorded frames?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

import jepa
from jepa.config.plan import RECORDED_BASELINES, PlanConfig, RecordedGoals
from jepa.config.planning import PlannerConfig
from jepa.config.trajectories import TrajectoryData
from jepa.data.trajectories.episodes import Episodes, open_episodes
from jepa.data.trajectories.windows import all_windows
from jepa.errors import ConfigError, DataError
from jepa.models.poses import moves
from jepa.models.scaling import Scaling
from jepa.models.world_model import LatentWorldModel
from jepa.planning.build import build_cost, build_solver
from jepa.planning.costs import Cost, Imagined
from jepa.planning.spaces import BoxSpace, DiscreteSpace, Space, bounded
from jepa.probes.imagination import HorizonErrors
from jepa.probes.recovery import Landscape, Recovery, landscape, recovery
from jepa.programs.measure_report import write_measure_report
from jepa.programs.world_model_report import error_chart, error_table, measured_steps, prediction_errors
from jepa.runtime.heatmap import Mark, heatmap
from jepa.runtime.run_dir import RunDir, commit
from jepa.runtime.seeding import generator
from jepa.runtime.terminal import Progress
from jepa.types import Windows

RANDOM, MEAN = RECORDED_BASELINES
AT_ONCE = 16  # pairs that are planned together at most: their candidates may be of many tokens
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


def plan_offline(config: PlanConfig, world_model: LatentWorldModel, run: RunDir) -> dict[str, Any]:
    """Compare planned with recorded actions and draw the energy around these; return the contents of summary.json.

    On the world model's own episodes, prediction errors are measured too, as after training, where a test episode is
    long enough. Raises ConfigError where there are no episodes of its own and no others are named, DataError where
    none is long enough for a pair.
    """
    goals, trained = config.goals, world_model.config
    assert isinstance(goals, RecordedGoals)
    data = _data(config, world_model)
    episodes = open_episodes(
        data.sources, test_fraction=data.test_fraction, proprio=data.proprio, decoder=data.decoder
    )
    if goals.data is not None:
        episodes = replace(episodes, train=(), test=episodes.train + episodes.test)
    with Progress(len(config.planners), unit="planner") as progress:
        pairs = _pairs(config, world_model, data, episodes)
        errors = None
        if goals.data is None and trained is not None:
            least = measured_steps(trained, world_model.history)
            if any(len(episode) >= least for episode in episodes.test):
                errors = prediction_errors(world_model, trained, episodes)
        found, fields = _compare(config, world_model, pairs, progress)
        summary = _summary(config, errors, found, fields, pairs=len(pairs.actions))
        run.write_summary(summary)
        tables = [_table(found, goals.ahead, len(pairs.actions))]
        tables += [] if errors is None else [error_table(errors)]
        _write_report(run, tables, errors, fields)
        for table in tables:
            progress.console.print(table)
        progress.note(f"report: {run.report}")
    return summary


def _data(config: PlanConfig, world_model: LatentWorldModel) -> TrajectoryData:
    """Return the episodes that the goals name, as the world model wants them, or those of its own training."""
    assert isinstance(config.goals, RecordedGoals)
    if (named := config.goals.data) is not None:
        same = {"resolution": world_model.resolution, "proprio": world_model.proprio_size > 0}
        return named.model_copy(update=same)
    if world_model.config is None:
        raise ConfigError(
            f"goals.data: {config.model} came without the episodes that it was trained on; name some"
        )
    return world_model.config.data


def _compare(
    config: PlanConfig, world_model: LatentWorldModel, pairs: Pairs, progress: Progress
) -> tuple[dict[str, Recovery], dict[str, Landscape]]:
    """Compare what every row proposes with the recorded actions; draw each planner's energy around these."""
    seed, each = config.seeds[0], _recorded_space(world_model, pairs)
    spaces = [bounded(each, planner.bounds).tile(world_model.frame_skip) for planner in config.planners]
    std = _scaling(world_model, pairs).action_std.repeat(world_model.frame_skip)
    found = {
        RANDOM: recovery(_drawn(each.tile(world_model.frame_skip), pairs, seed), pairs.actions, std=std),
        MEAN: recovery(_mean(world_model, pairs), pairs.actions, std=std),
    }
    # All costs first: one that the world model has no value for is said before any search.
    energies = [
        Energy(world_model, build_cost(planner.costs, world_model, each), pairs)
        for planner in config.planners
    ]
    fields = {}
    several = zip(config.planners, energies, spaces, strict=True)
    for number, (planner, energy, space) in enumerate(several, start=1):
        proposed = _planned(planner, energy, space, seed=seed, parallel=min(config.parallel, AT_ONCE))
        found[planner.name] = recovery(proposed, pairs.actions, std=std)
        if isinstance(space, BoxSpace) and len(space.low) > 1:
            fields[planner.name] = _field(energy, space)
        progress.update(number, {})
    return found, fields


def _pairs(
    config: PlanConfig, world_model: LatentWorldModel, data: TrajectoryData, episodes: Episodes
) -> Pairs:
    """Choose pairs of test frames, ``config.episodes`` in all or as many as there are, and encode them."""
    assert isinstance(config.goals, RecordedGoals)
    ahead = config.goals.ahead
    steps = ahead * data.frame_skip
    if not any(len(episode) >= steps for episode in episodes.test):
        raise DataError(
            f"none of {len(episodes.test)} test episodes has {ahead} model steps of {data.frame_skip} environment "
            "steps; lower goals.ahead, or train the world model with a larger data.test_fraction, or name others in "
            "goals.data"
        )
    actions_of = _between_poses if config.goals.actions == "poses" else _as_recorded
    windows = [
        window
        for batch in map(actions_of, all_windows(episodes.test, data, window=ahead + 1))
        # Of the frames the ends alone, else all test videos would have to fit into memory.
        for window in replace(batch, frames=batch.frames[:, [0, -1]]).split(len(batch.frames))
    ]
    order = torch.randperm(len(windows), generator=generator(config.seeds[0], "pairs"))[: config.episodes]
    return _encoded(world_model, [windows[int(place)] for place in order])


def _as_recorded(windows: Windows) -> Windows:
    """Return the windows as they are."""
    return windows


def _between_poses(windows: Windows) -> Windows:
    """Take the changes of the poses, (B, T, 7), for the actions. Raises DataError where there are no poses."""
    if windows.proprio is None:
        raise DataError("goals.actions: poses needs a world model that takes proprioception; use recorded")
    return replace(windows, actions=moves(windows.proprio[:, :-1], windows.proprio[:, 1:]))


@torch.inference_mode()
def _encoded(world_model: LatentWorldModel, windows: list[Windows]) -> Pairs:
    """Encode the two frames, (1, 2, 3, H, W), of each window."""
    z = torch.cat([world_model.encode(window.frames.movedim(2, -1)) for window in windows])  # (B, 2, N, D)
    proprio = None
    if windows[0].proprio is not None:
        proprio = torch.cat([w.proprio[:, :1] for w in windows if w.proprio is not None]).to(z.device)
    return Pairs(z[:, :1], z[:, 1], torch.cat([w.actions for w in windows]).to(z.device), proprio)


def _scaling(world_model: LatentWorldModel, pairs: Pairs) -> Scaling:
    """Return the statistics of training, or of the pairs' actions where the world model came without any."""
    if world_model.config is not None:
        return world_model.scaling
    size = len(world_model.scaling.action_mean)
    each = pairs.actions.reshape(-1, size)  # (B H skip, a)
    std = each.std(dim=0, correction=0)
    statistics = (each.mean(dim=0), std.where(std > 0, 1.0), each.amin(dim=0), each.amax(dim=0))
    scaling = Scaling(
        [one.cpu() for one in statistics], action_size=size, proprio_size=0, frame_skip=world_model.frame_skip
    )
    return scaling.to(pairs.actions.device)


def _recorded_space(world_model: LatentWorldModel, pairs: Pairs) -> Space:
    """Return where one environment step's action is searched: between the bounds of training, or one of n."""
    scaling = _scaling(world_model, pairs)
    each = pairs.actions.reshape(*pairs.actions.shape[:2], world_model.frame_skip, -1)  # (B, H, skip, a)
    is_one_hot = ((each == 0) | (each == 1)).all() & (each.sum(-1) == 1).all()
    if bool(is_one_hot) and each.shape[-1] > 1:
        return DiscreteSpace(each.shape[-1], device=scaling.action_low.device)
    return BoxSpace(scaling.action_low, scaling.action_high)


def _drawn(space: Space, pairs: Pairs, seed: int) -> Tensor:
    """Draw actions of the space, each as likely: (B, H, A)."""
    noise = torch.randn(pairs.actions.shape, generator=generator(seed, "random actions"))
    return space.actions(space.uniform(noise.to(space.device)))


def _mean(world_model: LatentWorldModel, pairs: Pairs) -> Tensor:
    """Return the mean action of the training episodes: (B, H, A)."""
    return _scaling(world_model, pairs).action_mean.repeat(world_model.frame_skip).expand_as(pairs.actions)


@dataclass(frozen=True, slots=True)
class Energy:
    """The cost of acting in a way between a start and its goal."""

    world_model: LatentWorldModel
    cost: Cost
    pairs: Pairs

    def of(self, rows: slice) -> Callable[[Tensor], Tensor]:
        """Return the costs of candidates for some pairs, as a function (b, S, H, A) -> (b, S)."""
        start, goal = self.pairs.start[rows], self.pairs.goal[rows]
        proprio = None if self.pairs.proprio is None else self.pairs.proprio[rows]

        def costs(actions: Tensor) -> Tensor:
            imagined = self.world_model.rollout(start, actions, proprio=proprio)
            return self.cost(Imagined(imagined, actions, start=start[:, -1], goal=goal))

        return costs


def _planned(planner: PlannerConfig, energy: Energy, space: Space, *, seed: int, parallel: int) -> Tensor:
    """Plan from every start to its goal, ``parallel`` at once: (B, H, A)."""
    solver, plans = build_solver(planner.solver), []
    count, horizon = energy.pairs.actions.shape[:2]
    for first in range(0, count, parallel):
        rows = range(first, min(first + parallel, count))
        plans.append(
            solver.solve(
                energy.of(slice(rows.start, rows.stop)),
                horizon=horizon,
                action_space=space,
                batch=len(rows),
                generator=[generator(seed, "plan", row) for row in rows],
            ).actions
        )
    return torch.cat(plans)


def _field(energy: Energy, space: BoxSpace) -> Landscape:
    """Measure the energy over the two numbers of an action that vary most, one pair after another.

    They are among those of ``space`` that do not stand still, and move in every environment step, also of one model
    step.
    """
    scaling = _scaling(energy.world_model, energy.pairs)
    few = min(LANDSCAPE_PAIRS, len(energy.pairs.actions))
    size = len(scaling.action_std)
    recorded = energy.pairs.actions[:few]  # (b, H, A)
    each = recorded.reshape(few, -1, size)  # (b, H * skip, a)
    varies = (scaling.action_low < scaling.action_high) & (space.low < space.high)
    varied = scaling.action_std.where(varies, 0).argsort(descending=True)
    axes = (int(varied[0]), int(varied[1]))

    def costs(actions: Tensor) -> Tensor:  # (b, S, H * skip, a)
        blocks = actions.reshape(*actions.shape[:2], *recorded.shape[1:])  # (b, S, H, A)
        return torch.cat([energy.of(slice(row, row + 1))(blocks[row : row + 1]) for row in range(few)])

    return landscape(costs, each, axes=axes, reach=2 * scaling.action_std[list(axes)])


def _summary(
    config: PlanConfig,
    errors: HorizonErrors | None,
    found: Mapping[str, Recovery],
    fields: Mapping[str, Landscape],
    *,
    pairs: int,
) -> dict[str, Any]:
    """Collect the numbers."""
    assert isinstance(config.goals, RecordedGoals)
    return {
        "model": config.model,
        "pairs": pairs,
        "ahead": config.goals.ahead,
        "seed": config.seeds[0],
        "version": jepa.__version__,
        "commit": commit(),
        "prediction": None if errors is None else errors.to_dict(),
        "recovery": {name: one.to_dict() for name, one in found.items()},
        "landscape": {name: one.to_dict() for name, one in fields.items()},
    }


def _write_report(
    run: RunDir, tables: Sequence[Table], errors: HorizonErrors | None, fields: Mapping[str, Landscape]
) -> None:
    """Write report.html."""
    charts = {} if errors is None else {"prediction": error_chart(errors)}
    charts |= {f"energy {name}": _draw(name, field) for name, field in fields.items()}
    title = f"Planning between recorded frames: {run.root.resolve().name}"
    write_measure_report(run, title=title, about=ABOUT, tables=tables, charts=charts)


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
        x_label=f"added to number {field.axes[0]} of the action",
        y_label=f"added to number {field.axes[1]} of the action",
        marks=(Mark("recorded", 0.0, 0.0, "#ffffff"), Mark("lowest energy", *field.lowest, "#d55e00")),
    )
