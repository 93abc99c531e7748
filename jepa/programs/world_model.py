"""`jepa world-model`: episodes in, a run directory with a world model out."""

import time
from dataclasses import astuple

import torch

from jepa.config.load import dump
from jepa.config.world_model import WorldModelConfig
from jepa.data.bad_files import BadFiles
from jepa.data.trajectories.episodes import Episodes, open_episodes
from jepa.data.trajectories.statistics import action_statistics, proprio_statistics
from jepa.data.trajectories.windows import window_stream
from jepa.errors import DataError
from jepa.models.world_model import build_world_model
from jepa.objectives.dynamics import DynamicsObjective, build_objective
from jepa.objectives.temporal_distance import fit_temporal_distance
from jepa.programs.latents import encode_episodes
from jepa.programs.loop import FREE_TO_CHANGE, Loop, TrainingResult, resume
from jepa.programs.state import State
from jepa.programs.train_step import train_step
from jepa.programs.world_model_report import finish_world_model
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from jepa.runtime.device import resolve_device
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.run_dir import RunDir
from jepa.runtime.seeding import seed_everything
from jepa.runtime.terminal import Progress, duration
from jepa.types import Windows

WorldModelState = State[WorldModelConfig, DynamicsObjective]


def train_world_model(config: WorldModelConfig) -> TrainingResult:
    """Train, measure prediction errors and report; continue when ``config.run_dir`` holds an unfinished run.

    Raises ConfigError, DataError, CheckpointError or RunError; SIGTERM and Ctrl-C end with a checkpoint.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    data = config.data
    episodes = open_episodes(
        data.sources, test_fraction=data.test_fraction, proprio=data.proprio, decoder=data.decoder
    )
    run = RunDir(config.run_dir)
    run.create()
    state = fresh_state(config, episodes, resolve_device(config.device))
    resumed = resume(state, run, free=(*FREE_TO_CHANGE, "value", "horizon"))
    if not resumed:
        run.write_config(dump(config))
    with Progress(config.optim.steps, start=state.step) as progress:
        if resumed:
            progress.note(f"continuing {run.root} at step {state.step}")
        if episodes.missing:
            progress.note(
                f"{len(episodes.missing)} episodes are missing, the first {episodes.missing[0].path}"
            )
        # Training alone: what follows is done anew by the same command, so a signal may end it at once.
        with Interrupts() as interrupts:
            training(state, episodes, run).run(state, run, progress, interrupts)
        if interrupts.requested:
            progress.note(
                f"{interrupts.requested}: checkpoint of step {state.step} written; the same command goes on"
            )
            return TrainingResult("interrupted", state.step, run.root, {})
        learn_value(state, episodes, run, progress)
        summary = finish_world_model(state.objective.world_model, config, episodes, run, progress)
    return TrainingResult("done", state.step, run.root, summary)


def fresh_state(config: WorldModelConfig, episodes: Episodes, device: torch.device) -> WorldModelState:
    """Build the state of step 0, with the statistics of the training episodes."""
    if not episodes.train:
        raise DataError("no episode is left to train on; lower data.test_fraction or give more episodes")
    action = action_statistics(episodes.train)
    proprio = proprio_statistics(episodes.train) if config.data.proprio else None
    seed_everything(config.seed, "weights")
    world_model = build_world_model(
        config,
        action_size=len(action.mean),
        proprio_size=0 if proprio is None else len(proprio.mean),
        action_statistics=astuple(action),
        proprio_statistics=None if proprio is None else astuple(proprio),
    )
    state = State.begin(config, build_objective(config, world_model), device)
    if config.compile:
        for part in (world_model.frames, world_model.dynamics):
            part.compile()
    return state


def training(state: WorldModelState, episodes: Episodes, run: RunDir) -> Loop[Windows]:
    """Return the loop over the batches from the state's step on."""
    config = state.config
    files = len(episodes.train) + len(episodes.test) + len(episodes.bad)
    bad = BadFiles(run.root, total=files, max_fraction=config.data.max_bad_fraction)
    bad.add(episodes.bad)
    batches = window_stream(
        episodes.train,
        config.data,
        seed=config.seed,
        start_step=state.step,
        steps=config.optim.steps - state.step,
        pin_memory=state.device.type == "cuda",
    )
    return Loop(batches, train_step, bad)


def learn_value(state: WorldModelState, episodes: Episodes, run: RunDir, progress: Progress) -> None:
    """Learn the distance in time that the config asks for, and write it into the newest checkpoint.

    One that is there already, from the same settings, is kept.
    """
    config, world_model = state.config, state.objective.world_model
    if config.value is None:
        return
    stored = load_checkpoint(list_checkpoints(run.root)[-1][1], program=config.program)
    if "value" in stored and stored["config"]["value"] == config.value.model_dump(mode="json"):
        return
    progress.note(f"learning the distance in time, {config.value.steps} steps")
    began, skip = time.monotonic(), config.data.frame_skip
    latents = encode_episodes(world_model.eval(), episodes.train, pool=config.value.pool)
    # Model steps from each of the first environment steps on: every frame is in one of them.
    paced = [z[phase::skip] for z in latents for phase in range(min(skip, len(z)))]
    value = fit_temporal_distance(paced, config.value, seed=config.seed, device=state.device)
    save_checkpoint(run.root, {**state.state_dict(), "value": value.state_dict()})
    progress.note(f"learned in {duration(time.monotonic() - began)}")
