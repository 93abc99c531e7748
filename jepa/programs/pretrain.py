"""`jepa pretrain`: video files in, a run directory with a trained encoder out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jepa.config.load import dump
from jepa.config.schema import PretrainConfig
from jepa.data.bad_files import BadFiles
from jepa.data.loader import train_stream
from jepa.data.sources import Source, open_sources
from jepa.errors import CheckpointError
from jepa.objectives import Objective
from jepa.programs.finish import finish
from jepa.programs.health import Health
from jepa.programs.masking import masks_for
from jepa.programs.train_step import State, train_step
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint, prune_checkpoints, save_checkpoint
from jepa.runtime.device import resolve_device
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.metrics import MetricsLog
from jepa.runtime.run_dir import RunDir
from jepa.runtime.terminal import Progress
from jepa.types import Batch


@dataclass(frozen=True)
class PretrainResult:
    """What a run ended with."""

    status: str
    """done or interrupted."""
    step: int
    run_dir: Path
    summary: dict[str, Any]
    """The contents of summary.json; empty when interrupted."""


def pretrain(config: PretrainConfig, *, objective: Objective | None = None) -> PretrainResult:
    """Train, probe and report; continue when ``config.run_dir`` holds an unfinished run.

    ``objective`` replaces the one that the config names, for methods of your own.
    Raises ConfigError, DataError, CheckpointError or RunError; SIGTERM and Ctrl-C end with a checkpoint.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    sources = open_sources(config.data.sources)  # before anything is written: missing files end the run here
    run = RunDir(config.run_dir)
    run.create()
    state = State.fresh(config, resolve_device(config.device), objective)
    resumed = resume(state, run)
    if not resumed:
        run.write_config(dump(config))
    with Progress(config.optim.steps, start=state.step) as progress, Interrupts() as interrupts:
        if resumed:
            progress.note(f"continuing {run.root} at step {state.step}")
        train(state, sources, run, progress, interrupts)
        if interrupts.requested:
            progress.note(
                f"{interrupts.requested}: checkpoint of step {state.step} written; the same command goes on"
            )
            return PretrainResult("interrupted", state.step, run.root, {})
        summary = finish(state, sources, run, progress)
    return PretrainResult("done", state.step, run.root, summary)


def resume(state: State, run: RunDir) -> bool:
    """Load the newest checkpoint of ``run`` into ``state``, if there is one."""
    found = list_checkpoints(run.root)
    if not found:
        return False
    loaded = load_checkpoint(found[-1][1])
    changed = differences(loaded["config"], state.config.model_dump(mode="json"))
    if changed:
        raise CheckpointError(
            f"{run.root} was trained with another configuration ({'; '.join(changed)}); "
            "use the run's own config.yaml, or another run_dir"
        )
    state.load_state_dict(loaded)
    return True


# What may change between two parts of one run: it moves no weight, but for rounding.
FREE_TO_CHANGE = ("run_dir", "device", "threads", "compile", "checkpoint", "log", "probes")
FREE_DATA_KEYS = ("workers", "cache_mb", "decode_timeout_s", "max_bad_fraction")


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return "key: old, now new" for every setting that differs and would change the result."""

    def leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(tree, dict):
            for key, value in tree.items():
                yield from leaves(value, f"{path}.{key}" if path else key)
        else:
            yield path, tree

    before, after = dict(leaves(old, "")), dict(leaves(new, ""))
    free = {*FREE_TO_CHANGE, *(f"data.{key}" for key in FREE_DATA_KEYS)}
    return [
        f"{key}: {before.get(key)!r}, now {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not free & {key, key.split(".")[0]}
    ]


def train(
    state: State, sources: tuple[Source, ...], run: RunDir, progress: Progress, interrupts: Interrupts
) -> None:
    """Step until the end or a signal; log and write checkpoints on the way, and one at the end."""
    config = state.config
    files = sum(source.files for source in sources)
    bad = BadFiles(run.root, total=files, max_fraction=config.data.max_bad_fraction)
    health = Health(state)
    saved_at, saved_step = time.monotonic(), state.step
    batches = batches_from(state, sources)
    with MetricsLog(run.root, tensorboard=config.log.tensorboard, start_step=state.step + 1) as log:
        clock = Clock()
        while state.step < config.optim.steps and not interrupts.requested:
            batch = clock.wait(batches)
            bad.add(batch.bad)
            signals = train_step(state, batch)
            clock.count(len(batch.clip))
            if state.step % config.log.every_steps == 0 or state.step == config.optim.steps:
                line = to_floats(signals) | clock.rates() | health.signals(batch) | {"bad_files": len(bad)}
                log.write(state.step, line)
                progress.update(state.step, line)
                if warning := health.warning(line):
                    progress.warn(warning)
            due = time.monotonic() - saved_at > 60 * config.checkpoint.every_minutes
            if due or state.step % config.checkpoint.every_steps == 0:
                write_checkpoint(state, run)
                saved_at, saved_step = time.monotonic(), state.step
    if saved_step != state.step or not list_checkpoints(run.root):
        write_checkpoint(state, run)


def batches_from(state: State, sources: tuple[Source, ...]) -> Iterator[Batch]:
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


def write_checkpoint(state: State, run: RunDir) -> None:
    """Write the whole state, then drop what the config does not keep."""
    save_checkpoint(run.root, state.state_dict())
    prune_checkpoints(run.root, state.config.checkpoint)


def to_floats(signals: dict[str, Tensor | float]) -> dict[str, float]:
    """Bring all signals to the host."""
    return {name: float(value) for name, value in signals.items()}


class Clock:
    """Clips per second and the share of the time spent waiting for data, between two calls of ``rates``."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._start, self._waited, self._clips = time.monotonic(), 0.0, 0

    def wait(self, batches: Iterator[Batch]) -> Batch:
        """Take the next batch, measuring how long that took."""
        before = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - before
        return batch

    def count(self, clips: int) -> None:
        """Add trained clips."""
        self._clips += clips

    def rates(self) -> dict[str, float]:
        """Return seconds, clips_per_s and data_wait (fraction of the time), and start over."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rates = {
            "seconds": elapsed,
            "clips_per_s": self._clips / elapsed,
            "data_wait": self._waited / elapsed,
        }
        self._restart()
        return rates
