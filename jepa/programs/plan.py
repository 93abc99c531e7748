"""`jepa plan`: how often does planning in the latent space reach goals given as images, and what does it cost?"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

import jepa
from jepa.config.load import dump
from jepa.config.plan import DatasetGoals, DrawnGoals, PlanConfig
from jepa.config.planning import PlannerConfig
from jepa.config.world_model import WorldModelConfig
from jepa.data.trajectories.episodes import open_episode_source
from jepa.envs.base import GoalEnv
from jepa.envs.registry import make_env
from jepa.errors import ConfigError, DataError
from jepa.models.world_model import LatentWorldModel, load_world_model, trained_config
from jepa.planning import MPC
from jepa.planning.build import build_cost, build_solver
from jepa.programs.cloning import clone_behaviour
from jepa.programs.episodes import Outcome, Player, Trial, play
from jepa.programs.films import write_films
from jepa.programs.offline import plan_offline
from jepa.programs.plan_report import write_plan_report
from jepa.programs.plan_result import Row, row_of, success_table
from jepa.programs.players import PlanningPlayer, RandomPlayer, SimulatorPlayer
from jepa.runtime.run_dir import RunDir, commit
from jepa.runtime.seeding import derive, generator
from jepa.runtime.terminal import Progress


@dataclass(frozen=True)
class PlanResult:
    """What an evaluation found."""

    run_dir: Path
    summary: dict[str, Any]
    """The contents of summary.json."""


def plan(config: PlanConfig) -> PlanResult:
    """Let every player play the same episodes, and report; the simulator is never asked while planning.

    Raises ConfigError for a world model and an environment that do not fit each other, CheckpointError for a model
    that cannot be loaded, DataError and RunError for goals or an environment that cannot be had.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    world_model = load_world_model(config.model, device=config.device)
    trained = trained_config(config.model)
    run = RunDir(config.run_dir)
    run.create()
    run.write_config(dump(config))
    if config.env is None:
        return PlanResult(run.root, plan_offline(config, world_model, trained, run))
    make = partial(make_env, config.env)
    goals = config.goals
    assert isinstance(goals, DrawnGoals | DatasetGoals)
    trials = {seed: list(draw_trials(goals, seed, config.episodes)) for seed in config.seeds}
    players = build_players(config, world_model, trained, make)
    rows, films = [], {}
    with Progress(len(players) * len(trials), unit="set") as progress:
        for name, player in players.items():
            began, outcomes = time.monotonic(), []
            for seed, drawn in trials.items():
                kept = config.videos if seed == config.seeds[0] else 0
                outcomes.append(
                    play(player, make, drawn, steps=goals.steps, parallel=config.parallel, films=kept)
                )
                progress.update(progress.step + 1, {})
            row = row_of(name, outcomes, decision_s=player.decision_s, wall_s=time.monotonic() - began)
            rows.append(row)
            films[name] = _films(outcomes[0], run, name)
            progress.note(
                f"{name}: {100 * row.success.value:.1f}% of {row.episodes} episodes in {row.wall_s:.0f} s"
            )
        summary = _summary(config, rows, goals)
        run.write_summary(summary)
        table = success_table(rows, steps=goals.steps, planners=[planner.name for planner in config.planners])
        write_plan_report(run, config, rows, table, {name: path for name, path in films.items() if path})
        progress.console.print(table)
        progress.note(f"report: {run.report}")
    return PlanResult(run.root, summary)


def build_players(
    config: PlanConfig, world_model: LatentWorldModel, trained: WorldModelConfig, make: Callable[[], GoalEnv]
) -> dict[str, Player]:
    """Return the players by the names of their rows, baselines last."""
    env = make()
    try:
        check_fit(world_model, env)
        players: dict[str, Player] = {
            planner.name: PlanningPlayer(policy_of(planner, world_model, env)) for planner in config.planners
        }
        for baseline in config.baselines:
            if baseline == "random":
                players[baseline] = RandomPlayer()
            elif baseline == "behaviour cloning":
                players[baseline] = clone_behaviour(
                    world_model, trained, steps=config.cloning_steps, seed=config.seeds[0]
                )
            else:
                players[baseline] = SimulatorPlayer(config.simulator or config.planners[0])
    finally:
        env.close()
    return players


def policy_of(planner: PlannerConfig, world_model: LatentWorldModel, env: GoalEnv) -> MPC:
    """Build the policy that ``planner`` describes, for the actions of ``env``."""
    return MPC(
        world_model,
        build_solver(planner.solver),
        build_cost(planner.costs, world_model, env.action_space),
        horizon=planner.horizon,
        action_space=env.action_space,
        replan_every=planner.replan_every,
        warm_start=planner.warm_start,
    )


def check_fit(world_model: LatentWorldModel, env: GoalEnv) -> None:
    """Raise ConfigError where the proprioception of ``env`` is not what the world model was trained on."""
    there = env.observation_space["proprio"].shape
    if world_model.proprio_size and there != (world_model.proprio_size,):
        raise ConfigError(
            f"the world model was trained with {world_model.proprio_size} numbers of proprioception, the environment "
            f"gives {there}; plan in the environment whose episodes it was trained on"
        )


def draw_trials(goals: DrawnGoals | DatasetGoals, seed: int, count: int) -> Iterator[Trial]:
    """Return ``count`` episodes: seeds that nothing else uses, or starts and goals from recorded episodes."""
    if isinstance(goals, DrawnGoals):
        for number in range(count):
            yield Trial(derive(seed, "evaluation", number) % 2**31)
        return
    episodes = [
        e
        for e in open_episode_source(goals.source).episodes
        if e.states is not None and len(e) >= goals.ahead
    ]
    if not episodes:
        raise DataError(
            f"{goals.source.path}: no episode has simulator states and {goals.ahead} steps; collect some with "
            "`jepa data collect`, or use goals of kind drawn"
        )
    draw = generator(seed, "dataset goals")
    for number in range(count):
        episode = episodes[int(torch.randint(len(episodes), (), generator=draw))]
        start = int(torch.randint(len(episode) - goals.ahead + 1, (), generator=draw))
        assert episode.states is not None
        yield Trial(
            derive(seed, "evaluation", number) % 2**31,
            episode.states[start],
            episode.states[start + goals.ahead],
        )


def _films(outcomes: Sequence[Outcome], run: RunDir, name: str) -> Path | None:
    """Write the episodes that were kept; return the animation."""
    kept = [outcome.film for outcome in outcomes if outcome.film is not None]
    return write_films(kept, run.root / "videos", name.replace(" ", "-")) if kept else None


def _summary(config: PlanConfig, rows: Sequence[Row], goals: DrawnGoals | DatasetGoals) -> dict[str, Any]:
    """Collect the numbers."""
    return {
        "model": config.model,
        "steps": goals.steps,
        "episodes": config.episodes,
        "seeds": list(config.seeds),
        "version": jepa.__version__,
        "commit": commit(),
        "rows": {row.player: row.to_dict() for row in rows},
        "results": {
            f"success, {row.player}": {
                "value": row.success.value,
                "low": row.success.low,
                "high": row.success.high,
            }
            for row in rows
        },
    }
