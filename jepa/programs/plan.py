"""`jepa plan`: how often does planning in the latent space reach goals given as images, and what does it cost?"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import jepa
from jepa.config.load import dump
from jepa.config.plan import DatasetGoals, DrawnGoals, PlanConfig
from jepa.config.planning import PlannerConfig, SearchConfig
from jepa.config.trajectories import TrajectoryData
from jepa.config.world_model import WorldModelConfig
from jepa.data.trajectories.episodes import open_episode_source, open_episodes
from jepa.envs.base import GoalEnv
from jepa.envs.registry import make_env
from jepa.errors import ConfigError, DataError
from jepa.models.world_model import LatentWorldModel, load_world_model
from jepa.planning import MPC
from jepa.planning.build import build_cost, build_solver
from jepa.planning.spaces import as_space, within
from jepa.programs.cloning import clone_behaviour
from jepa.programs.episodes import Film, Player, Trial, play
from jepa.programs.films import write_films
from jepa.programs.offline import plan_offline
from jepa.programs.page import slug
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
    if config.env is not None:
        make_env(config.env).close()  # what it lacks is said before anything is loaded or written
    world_model = load_world_model(config.model, device=config.device)
    trained = world_model.config
    if config.env is not None and trained is None and "behaviour cloning" in config.baselines:
        raise ConfigError(
            f"baselines: behaviour cloning learns from the episodes that the world model was trained on, and "
            f"{config.model} came without them; leave it out"
        )
    run = RunDir(config.run_dir)
    run.create()
    run.write_config(dump(config))
    if config.env is None:
        return PlanResult(run.root, plan_offline(config, world_model, run))
    make = partial(make_env, config.env)
    goals = config.goals
    assert isinstance(goals, DrawnGoals | DatasetGoals)
    learned = None if trained is None else trained.data
    trials = {seed: list(draw_trials(goals, seed, config.episodes, learned)) for seed in config.seeds}
    players = build_players(config, world_model, trained, make)
    with Progress(len(players) * len(trials), unit="set") as progress:
        rows, films = [], {}
        for name, player in players.items():
            row, kept = _play_all(config, name, player, trials, make, progress)
            rows.append(row)
            films[name] = (
                write_films(kept, run.root / "videos", slug(f"{len(rows)} {name}")) if kept else None
            )
        summary = _summary(config, rows, goals)
        run.write_summary(summary)
        names = [planner.name for planner in config.planners]
        table = success_table(rows, steps=goals.steps, planners=names, parallel=config.parallel)
        write_plan_report(run, config, rows, table, {name: path for name, path in films.items() if path})
        progress.console.print(table)
        progress.note(f"report: {run.report}")
    return PlanResult(run.root, summary)


def _play_all(
    config: PlanConfig,
    name: str,
    player: Player,
    trials: Mapping[int, Sequence[Trial]],
    make: Callable[[], GoalEnv],
    progress: Progress,
) -> tuple[Row, list[Film]]:
    """Let one player play all trials, by seed; return its row, and films of the first seed."""
    assert isinstance(config.goals, DrawnGoals | DatasetGoals)
    steps, parallel = config.goals.steps, config.parallel
    began, outcomes = time.monotonic(), []
    for seed, drawn in trials.items():
        kept = config.videos if seed == config.seeds[0] else 0
        outcomes.append(play(player, make, drawn, steps=steps, parallel=parallel, films=kept))
        progress.update(progress.step + 1, {})
    row = row_of(name, outcomes, decision_s=player.decision_s, wall_s=time.monotonic() - began)
    progress.note(f"{name}: {100 * row.success.value:.1f}% of {row.episodes} episodes in {row.wall_s:.0f} s")
    return row, [outcome.film for outcome in outcomes[0] if outcome.film is not None]


def build_players(
    config: PlanConfig,
    world_model: LatentWorldModel,
    trained: WorldModelConfig | None,
    make: Callable[[], GoalEnv],
) -> dict[str, Player]:
    """Return the players by the names of their rows, baselines last; behaviour cloning needs ``trained``."""
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
                assert trained is not None
                players[baseline] = clone_behaviour(
                    world_model, trained, steps=config.cloning_steps, seed=config.seeds[0]
                )
            else:
                first = in_environment_steps(config.planners[0], world_model.frame_skip)
                players[baseline] = SimulatorPlayer(config.simulator or first)
    finally:
        env.close()
    return players


def policy_of(planner: PlannerConfig, world_model: LatentWorldModel, env: GoalEnv) -> MPC:
    """Build the policy that ``planner`` describes, for the actions of ``env``."""
    policy = MPC(
        world_model,
        build_solver(planner.solver),
        build_cost(planner.costs, world_model, env.action_space),
        horizon=planner.horizon,
        action_space=within(as_space(env.action_space), planner.bounds),
        replan_every=planner.replan_every,
        warm_start=planner.warm_start,
    )
    policy.context_frames = planner.context
    return policy


def in_environment_steps(search: SearchConfig, frame_skip: int) -> SearchConfig:
    """Return the search over the same time for a model whose steps are those of the environment."""
    return SearchConfig(
        solver=search.solver,
        horizon=search.horizon * frame_skip,
        replan_every=search.replan_every * frame_skip,
        warm_start=search.warm_start,
    )


def check_fit(world_model: LatentWorldModel, env: GoalEnv) -> None:
    """Raise ConfigError where the proprioception of ``env`` is not what the world model was trained on."""
    there = env.observation_space["proprio"].shape
    if world_model.proprio_size and there != (world_model.proprio_size,):
        raise ConfigError(
            f"the world model was trained with {world_model.proprio_size} numbers of proprioception, the environment "
            f"gives {there}; plan in the environment whose episodes it was trained on"
        )


def draw_trials(
    goals: DrawnGoals | DatasetGoals, seed: int, count: int, trained: TrajectoryData | None
) -> Iterator[Trial]:
    """Return ``count`` episodes: seeds that nothing else uses, or starts and goals from recorded episodes.

    ``trained`` says which episodes the world model learned from, which are none of these; None for published weights,
    which learned from none of them. Raises DataError where no
    episode is left.
    """
    seeds = [derive(seed, "evaluation", number) % 2**31 for number in range(count)]
    if isinstance(goals, DrawnGoals):
        yield from map(Trial, seeds)
        return
    episodes = list(_unseen(goals, trained))
    if not episodes:
        raise DataError(
            f"{goals.source.path}: no episode that the world model was not trained on has simulator states and "
            f"{goals.ahead} steps; collect some with `jepa data collect` and another seed, or use goals of kind drawn"
        )
    draw = generator(seed, "dataset goals")
    for own in seeds:
        states = episodes[int(torch.randint(len(episodes), (), generator=draw))]  # (T + 1, S)
        start = int(torch.randint(len(states) - goals.ahead, (), generator=draw))
        yield Trial(own, states[start], states[start + goals.ahead])


def _unseen(goals: DatasetGoals, trained: TrajectoryData | None) -> Iterator[NDArray[np.float64]]:
    """Return the states, (T + 1, S), of episodes that are long enough and that no training saw."""
    here = Path(goals.source.path).resolve()
    seen: set[str] = set()
    if trained is not None:
        for source in trained.sources:
            if Path(source.path).resolve() == here:  # its names begin with its path
                learned = open_episodes([source], test_fraction=trained.test_fraction).train
                seen |= {episode.name.removeprefix(f"{source.path}/") for episode in learned}
    for episode in open_episode_source(goals.source).episodes:
        if episode.states is not None and len(episode) >= goals.ahead and episode.name not in seen:
            yield episode.states


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
