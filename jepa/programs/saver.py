"""When checkpoints are written while training, and by whom."""

import time
from types import TracebackType
from typing import Any, Self

from jepa.programs.state import State
from jepa.runtime.checkpoint import (
    FORMAT,
    checkpoint_path,
    list_checkpoints,
    prune_checkpoints,
    save_checkpoint,
)
from jepa.runtime.run_dir import RunDir
from jepa.runtime.sharded import ShardedWriter


class Saver:
    """Writes the checkpoints of a run: one file by the main process, or parts by all, while training goes on."""

    def __init__(self, state: State[Any, Any], run: RunDir) -> None:
        self._state, self._run = state, run
        self._writer = ShardedWriter(state.ranks.main) if state.sharded else None
        self._saved_at, self._saved_step = time.monotonic(), state.step
        self._any = bool(list_checkpoints(run.root))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def overdue(self) -> bool:
        """Whether the last checkpoint is older than the config allows."""
        return time.monotonic() - self._saved_at > 60 * self._state.config.checkpoint.every_minutes

    def save(self) -> None:
        """Write the whole state, then drop what the config does not keep. Raises CheckpointError where it cannot."""
        state, root = self._state, self._run.root
        if self._writer is not None:
            folder = checkpoint_path(root, state.step, sharded=True)
            self._writer.save(folder, state.tensors(), {"format": FORMAT, **state.facts()})
        elif state.ranks.main:
            save_checkpoint(root, state.state_dict())
        if state.ranks.main:
            prune_checkpoints(root, state.config.checkpoint)
        self._saved_at, self._saved_step, self._any = time.monotonic(), state.step, True

    def finish(self) -> None:
        """Write the last state, unless it is written; return when it is on the disk, on all processes."""
        if self._saved_step != self._state.step or not self._any:
            self.save()
        if self._writer is not None:
            self._writer.wait()
            if self._state.ranks.main:
                prune_checkpoints(self._run.root, self._state.config.checkpoint)
        self._state.ranks.wait()
