"""`jepa pretrain`: video files in, a run directory with a trained encoder out."""

from collections.abc import Iterator
from contextlib import ExitStack
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
from jepa.programs.loop import Loop, TrainingResult, progress_of, stopped
from jepa.programs.masking import masks_for
from jepa.programs.pretrain_step import PretrainState, fresh_state, pretrain_step
from jepa.programs.resume import FREE_TO_CHANGE, resume
from jepa.runtime.checkpoint import find_checkpoint, load_checkpoint
from jepa.runtime.device import resolve_device
from jepa.runtime.distributed import joined
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.lock import locked
from jepa.runtime.run_dir import RunDir
from jepa.types import Batch


def pretrain(config: PretrainConfig, *, objective: Objective | None = None) -> TrainingResult:
    """Train, probe and report; continue when ``config.run_dir`` holds an unfinished run.

    ``objective`` replaces the one that the config names, for methods of your own.
    Raises ConfigError, DataError, CheckpointError or RunError; SIGTERM and Ctrl-C end with a checkpoint.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    run = RunDir(config.run_dir)
    with joined(config.device) as ranks, ExitStack() as held:
        # Before anything is written: missing files end the run here. Generated ones are written once.
        sources = ranks.main_first(partial(open_sources, config.data.sources, confine=config.data.confine))
        run.create()
        held.enter_context(locked(run.root, hold=ranks.main))
        state = fresh_state(config, resolve_device(config.device, ranks.local), objective, ranks)
        notes = resume(state, run, free=(*FREE_TO_CHANGE, "probes"))
        if ranks.main and not notes:
            run.write_config(dump(config))
        with progress_of(state) as progress:
            for note in notes:
                progress.note(note)
            # Training alone: what follows is done anew by the same command, so a signal may end it at once.
            with Interrupts() as interrupts:
                interrupted = training(state, sources, run).run(state, run, progress, interrupts)
            if interrupted:
                progress.note(stopped(state, interrupts))
            if interrupted or not ranks.main:
                return TrainingResult("interrupted" if interrupted else "done", state.step, run.root, {})
            summary = finish(gathered(state, run), sources, run, progress)
    return TrainingResult("done", state.step, run.root, summary)


def gathered(state: PretrainState, run: RunDir) -> PretrainState:
    """Return the state with whole weights in this process: of sharded ones, as the last checkpoint has them."""
    if not state.sharded:
        return state
    alone = fresh_state(state.config, state.device)
    alone.load_state_dict(load_checkpoint(find_checkpoint(run.root)))
    return alone


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
        share=state.ranks.share,
    )
