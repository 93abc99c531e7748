"""Starts `jepa` in processes of their own that have torch imported already: milliseconds instead of seconds."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

PRELOADED = ["jepa.cli", "jepa.programs.pretrain", "jepa.data.pyav", "torch._dynamo", "torch.onnx"]


class Warm:
    """A process, with the methods of one that subprocess started."""

    def __init__(self, process) -> None:
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("jepa", timeout)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def start_warm(arguments: list[str], log: Path, before: str, processes: int) -> Warm:
    """Start `jepa` with its stderr in ``log``, after Python has run ``before``."""
    assert processes == 1
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_enter, args=(arguments, str(log), before))
    process.start()
    return Warm(process)


def _enter(arguments: list[str], log: str, before: str) -> None:
    """Do what the console script does."""
    from jepa.cli import main

    multiprocessing.set_start_method(None, force=True)  # for decoding processes the usual one, not this one's
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["jepa", *arguments]
    exec(before, {})
    main()
