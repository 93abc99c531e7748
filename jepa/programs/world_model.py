"""`jepa world-model`: episodes in, a run directory with a world model out."""

import time
from contextlib import ExitStack
from dataclasses import astuple

import torch

from jepa.config.load import dump
from jepa.config.world_model import WorldModelConfig
from jepa.data.bad_files import BadFiles
from jepa.data.trajectories.episodes import Episodes, open_episodes
from jepa.data.trajectories.held_frames import HeldFrames
from jepa.data.trajectories.statistics import action_statistics, proprio_statistics
from jepa.data.trajectories.windows import window_stream
from jepa.errors import DataError
from jepa.models.frames import FrozenFrameEncoder
from jepa.models.world_model import build_world_model
from jepa.objectives.dynamics import DynamicsObjective, build_objective
from jepa.objectives.temporal_distance import fit_temporal_distance
from jepa.programs.latents import encode_episodes, fit_components, hold_latents
from jepa.programs.loop import Loop, TrainingResult, progress_of, stopped
from jepa.programs.resume import FREE_TO_CHANGE, resume
from jepa.programs.state import State
from jepa.programs.train_step import train_step
from jepa.programs.world_model_report import finish_world_model
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from jepa.runtime.device import resolve_device
from jepa.runtime.distributed import ALONE, Ranks, joined
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.lock import locked
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
    with joined(config.device) as ranks, ExitStack() as kept:
        run.create()
        kept.enter_context(locked(run.root, hold=ranks.main))
        state = fresh_state(config, episodes, resolve_device(config.device, ranks.local), ranks)
        notes = resume(state, run, free=(*FREE_TO_CHANGE, "value", "horizon"))
        if ranks.main and not notes:
            run.write_config(dump(config))
        with progress_of(state) as progress:
            for note in (*notes, *missing(episodes)):
                progress.note(note)
            held = prepare_frames(state, episodes, progress)
            # Training alone: what follows is done anew by the same command, so a signal may end it at once.
            with Interrupts() as interrupts:
                interrupted = training(state, episodes, run, held).run(state, run, progress, interrupts)
            if interrupted:
                progress.note(stopped(state, interrupts))
            if interrupted or not ranks.main:
                return TrainingResult("interrupted" if interrupted else "done", state.step, run.root, {})
            learn_value(state, episodes, run, progress, held)
            summary = finish_world_model(state.objective.world_model, config, episodes, run, progress)
    return TrainingResult("done", state.step, run.root, summary)


def missing(episodes: Episodes) -> list[str]:
    """Say how many episodes are not there."""
    if not episodes.missing:
        return []
    return [f"{len(episodes.missing)} episodes are missing, the first {episodes.missing[0].path}"]


def fresh_state(
    config: WorldModelConfig, episodes: Episodes, device: torch.device, ranks: Ranks = ALONE
) -> WorldModelState:
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
    state = State.begin(config, build_objective(config, world_model), device, ranks)
    if config.compile:
        for part in (world_model.frames, world_model.dynamics):
            part.compile()
    return state


def prepare_frames(state: WorldModelState, episodes: Episodes, progress: Progress) -> HeldFrames | None:
    """Do what a frozen encoder does once: fit its projection to the training frames, and encode them all.

    Returns the latents where there is training to do and they fit into ``data.cache_mb``.
    """
    frames, config = state.objective.world_model.frames, state.config
    if isinstance(frames, FrozenFrameEncoder) and frames.components and not frames.components.is_fitted:
        count, share = fit_components(frames, episodes.train, config.data, device=state.device)
        progress.note(
            f"{frames.dim} principal components of {count} frames hold {100 * share:.1f}% of the variance"
        )
    if state.step == config.optim.steps:
        return None
    return hold_latents(
        frames, episodes.train, config.data, device=state.device, dtype=config.dtype, progress=progress
    )


def training(
    state: WorldModelState, episodes: Episodes, run: RunDir, held: HeldFrames | None = None
) -> Loop[Windows]:
    """Return the loop over the batches from the state's step on; ``held`` are the latents of the training episodes."""
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
        held=held,
        share=state.ranks.share,
    )
    return Loop(batches, train_step, bad)


def learn_value(
    state: WorldModelState,
    episodes: Episodes,
    run: RunDir,
    progress: Progress,
    held: HeldFrames | None = None,
) -> None:
    """Learn the distance in time that the config asks for, and write it into the newest checkpoint.

    One that is there already, from the same settings, is kept. ``held`` are the latents of the training episodes,
    where they were computed before.
    """
    config, world_model = state.config, state.objective.world_model
    if config.value is None:
        return
    stored = load_checkpoint(list_checkpoints(run.root)[-1][1], program=config.program)
    if "value" in stored and stored["config"]["value"] == config.value.model_dump(mode="json"):
        return
    progress.note(f"learning the distance in time, {config.value.steps} steps")
    began, skip = time.monotonic(), config.data.frame_skip
    if held is None:
        latents = encode_episodes(world_model.eval(), episodes.train, pool=config.value.pool)
    else:
        latents = [z.mean(1, keepdim=True) if config.value.pool else z for z in held.episodes()]
    # Model steps from each of the first environment steps on: every frame is in one of them.
    paced = [z[phase::skip] for z in latents for phase in range(min(skip, len(z)))]
    value = fit_temporal_distance(paced, config.value, seed=config.seed, device=state.device)
    save_checkpoint(run.root, {**state.state_dict(), "value": value.state_dict()})
    progress.note(f"learned in {duration(time.monotonic() - began)}")
