"""`jepa pretrain`: video files in, a run directory with a trained encoder out."""

from collections.abc import Iterator
from functools import partial

import torch

from jepa.config.load import dump
from jepa.config.schema import PretrainConfig
from jepa.data.bad_files import BadFiles
from jepa.data.loader import train_stream
from jepa.data.sources import Source, open_sources
from jepa.objectives import Objective
from jepa.programs.finish import finish
from jepa.programs.health import Health
from jepa.programs.loop import FREE_TO_CHANGE, Loop, TrainingResult, resume
from jepa.programs.masking import masks_for
from jepa.programs.pretrain_step import PretrainState, fresh_state, pretrain_step
from jepa.runtime.device import resolve_device
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.run_dir import RunDir
from jepa.runtime.terminal import Progress
from jepa.types import Batch


def pretrain(config: PretrainConfig, *, objective: Objective | None = None) -> TrainingResult:
    """Train, probe and report; continue when ``config.run_dir`` holds an unfinished run.

    ``objective`` replaces the one that the config names, for methods of your own.
    Raises ConfigError, DataError, CheckpointError or RunError; SIGTERM and Ctrl-C end with a checkpoint.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    sources = open_sources(config.data.sources)  # before anything is written: missing files end the run here
    run = RunDir(config.run_dir)
    run.create()
    state = fresh_state(config, resolve_device(config.device), objective)
    resumed = resume(state, run, free=(*FREE_TO_CHANGE, "probes"))
    if not resumed:
        run.write_config(dump(config))
    with Progress(config.optim.steps, start=state.step) as progress, Interrupts() as interrupts:
        if resumed:
            progress.note(f"continuing {run.root} at step {state.step}")
        training(state, sources, run).run(state, run, progress, interrupts)
        if interrupts.requested:
            progress.note(
                f"{interrupts.requested}: checkpoint of step {state.step} written; the same command goes on"
            )
            return TrainingResult("interrupted", state.step, run.root, {})
        summary = finish(state, sources, run, progress)
    return TrainingResult("done", state.step, run.root, summary)


def training(state: PretrainState, sources: tuple[Source, ...], run: RunDir) -> Loop[Batch]:
    """Return the loop over the batches from the state's step on."""
    files = sum(source.files for source in sources)
    bad = BadFiles(run.root, total=files, max_fraction=state.config.data.max_bad_fraction)
    health = Health(state)
    return Loop(batches_from(state, sources), pretrain_step, bad, health.signals, health.warning)


def batches_from(state: PretrainState, sources: tuple[Source, ...]) -> Iterator[Batch]:
    """Stream the batches from the state's step on."""
    config = state.config
    return train_stream(
        config.data,
        seed=config.seed,
        start_step=state.step,
        steps=config.optim.steps - state.step,
        sample_masks=partial(masks_for, config),
        sources=sources,
        pin_memory=state.device.type == "cuda",
    )
