"""The training loop that all programs share: step, log, write checkpoints, stop at a signal, continue a run."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from jepa.data.bad_files import BadFiles
from jepa.errors import CheckpointError
from jepa.programs.state import State
from jepa.programs.train_step import TrainingBatch
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint, prune_checkpoints, save_checkpoint
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

    def run(self, state: State[Any, Any], run: RunDir, progress: Progress, interrupts: Interrupts) -> None:
        """Step until the end or a signal; log and write checkpoints on the way, and one at the end."""
        config = state.config
        saved_at, saved_step = time.monotonic(), state.step
        with MetricsLog(run.root, tensorboard=config.log.tensorboard, start_step=state.step + 1) as log:
            clock = Clock()
            while state.step < config.optim.steps and not interrupts.requested:
                batch = clock.wait(self.batches)
                self.bad.add(batch.bad)
                signals = self.step(state, batch)
                clock.count(config.data.batch_size)
                if state.step % config.log.every_steps == 0 or state.step == config.optim.steps:
                    line = to_floats(signals) | clock.rates() | self.signals(batch)
                    line |= {"bad_files": len(self.bad)}
                    log.write(state.step, line)
                    progress.update(state.step, line)
                    if warning := self.warning(line):
                        progress.warn(warning)
                due = time.monotonic() - saved_at > 60 * config.checkpoint.every_minutes
                if due or state.step % config.checkpoint.every_steps == 0:
                    write_checkpoint(state, run)
                    saved_at, saved_step = time.monotonic(), state.step
        if saved_step != state.step or not list_checkpoints(run.root):
            write_checkpoint(state, run)


def resume(state: State[Any, Any], run: RunDir, *, free: Collection[str]) -> bool:
    """Load the newest checkpoint of ``run`` into ``state``, if there is one.

    Raises CheckpointError when a setting changed that is not ``free`` to: the result would belong to neither.
    """
    found = list_checkpoints(run.root)
    if not found:
        return False
    loaded = load_checkpoint(found[-1][1], program=state.config.program)
    changed = differences(loaded["config"], state.config.model_dump(mode="json"), free=free)
    if changed:
        raise CheckpointError(
            f"{run.root} was trained with another configuration ({'; '.join(changed)}); "
            "use the run's own config.yaml, or another run_dir"
        )
    state.load_state_dict(loaded)
    return True


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


# What may change between two parts of any run: it moves no weight, but for rounding.
FREE_TO_CHANGE = (
    *("run_dir", "device", "threads", "compile", "checkpoint", "log"),
    *("data.workers", "data.cache_mb", "data.decode_timeout_s", "data.max_bad_fraction"),
)


def differences(old: dict[str, Any], new: dict[str, Any], *, free: Collection[str]) -> list[str]:
    """Return "key: old, now new" for every setting that differs and would change the result."""

    def leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(tree, dict):
            for key, value in tree.items():
                yield from leaves(value, f"{path}.{key}" if path else key)
        else:
            yield path, tree

    before, after = dict(leaves(old, "")), dict(leaves(new, ""))
    return [
        f"{key}: {before.get(key)!r}, now {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not {*free} & {key, key.split(".")[0]}
    ]


def write_checkpoint(state: State[Any, Any], run: RunDir) -> None:
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
