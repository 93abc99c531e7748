"""The training loop that all programs share: step, log, write checkpoints, stop at a signal."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from jepa.data.bad_files import BadFiles
from jepa.data.surviving import Batches
from jepa.programs.saver import Saver
from jepa.programs.state import State
from jepa.programs.train_step import TrainingBatch
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.metrics import MetricsLog
from jepa.runtime.run_dir import RunDir
from jepa.runtime.terminal import Progress

B = TypeVar("B", bound=TrainingBatch)


@dataclass(frozen=True)
class Loop(Generic[B]):
    """What a training run consists of, beside its state."""

    batches: Iterator[B]
    """From the state's step on."""
    step: Callable[[Any, B], dict[str, Tensor | float]]
    """Makes one update of the state and returns its signals."""
    bad: BadFiles
    signals: Callable[[B], dict[str, float]] = lambda batch: {}
    """More signals for a line of the log, measured on the batch of the step."""
    warning: Callable[[dict[str, float]], str | None] = lambda line: None
    """A sentence about a line of the log that a reader must not miss."""

    def run(self, state: State[Any, Any], run: RunDir, progress: Progress, interrupts: Interrupts) -> bool:
        """Step until the end or a signal; log and write checkpoints on the way, and one at the end.

        All processes that train together stop after the same step. Returns whether a signal ended it.
        """
        config, ranks = state.config, state.ranks
        saver = Saver(state, run)
        stop = ranks.any(bool(interrupts.requested), device=state.device)[0]
        with open_log(run, state) as log, saver:
            clock = Clock()
            while state.step < config.optim.steps and not stop:
                batch = clock.wait(self.batches)
                signals = self.step(state, batch)
                clock.count(config.data.batch_size)
                stop, overdue, bad = ranks.any(
                    bool(interrupts.requested), saver.overdue, bool(batch.bad), device=state.device
                )
                if bad:
                    self.bad.add(found for part in ranks.gather(batch.bad) for found in part)
                if state.step % config.log.every_steps == 0 or state.step == config.optim.steps:
                    line = to_floats(signals) | clock.rates() | self.signals(batch)
                    line |= {"bad_files": len(self.bad)}
                    line |= self.batches.counts if isinstance(self.batches, Batches) else {}
                    log.write(state.step, line)
                    progress.update(state.step, line)
                    if warning := self.warning(line):
                        progress.warn(warning)
                if overdue or state.step % config.checkpoint.every_steps == 0:
                    saver.save()
            saver.finish()
        return stop


def open_log(run: RunDir, state: State[Any, Any]) -> MetricsLog:
    """Open metrics.jsonl, and beside it, where several processes train, one for each of the others."""
    log, start = state.config.log, state.step + 1
    if state.ranks.main:
        return MetricsLog(run.root, tensorboard=log.tensorboard, wandb=log.wandb, start_step=start)
    return MetricsLog(run.root, start_step=start, name=f"metrics-rank{state.ranks.rank}.jsonl")


@dataclass(frozen=True)
class TrainingResult:
    """What a training run ended with."""

    status: str
    """done or interrupted."""
    step: int
    run_dir: Path
    summary: dict[str, Any]
    """The contents of summary.json; empty when interrupted."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "status": self.status,
            "step": self.step,
            "run_dir": str(self.run_dir),
            "summary": self.summary,
        }

    def __str__(self) -> str:
        return f"{self.status} at step {self.step}: {self.run_dir}"


def to_floats(signals: dict[str, Tensor | float]) -> dict[str, float]:
    """Bring all signals to the host."""
    return {name: float(value) for name, value in signals.items()}


def progress_of(state: State[Any, Any]) -> Progress:
    """Return what the run shows while it works; of several processes, one speaks."""
    return Progress(state.config.optim.steps, start=state.step, quiet=not state.ranks.main)


def stopped(state: State[Any, Any], interrupts: Interrupts) -> str:
    """Say why the run ended before its last step, and how to go on."""
    cause = interrupts.requested or "another process was asked to end"
    return f"{cause}: checkpoint of step {state.step} written; the same command goes on"


class Clock:
    """Clips per second and the share of the time spent waiting for data, between two calls of ``rates``."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._start, self._waited, self._clips = time.monotonic(), 0.0, 0

    def wait(self, batches: Iterator[B]) -> B:
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
