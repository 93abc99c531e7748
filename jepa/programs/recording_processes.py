"""Records episodes in processes of their own."""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from jepa.config.envs import CollectConfig
from jepa.data.trajectories.store import episode_path, write_episode
from jepa.data.workers import leave_signals_to_the_parent
from jepa.errors import JepaError, RunError
from jepa.programs.recording import Recorder
from jepa.runtime.interrupts import Interrupts

POLL_S = 0.2  # how often a signal is looked for

Report = tuple[int, int] | str
"""What a process says: (episode, its steps), or why it stopped."""


def write_recorded(recorder: Recorder, folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Record episodes side by side, and write each; yield (episode, its steps)."""
    for number, trajectory, values in recorder.record(numbers):
        write_episode(episode_path(folder, number), trajectory, values=values)
        yield number, len(trajectory)


def record_in_processes(
    config: CollectConfig, groups: Sequence[Sequence[int]], interrupts: Interrupts
) -> Iterator[tuple[int, int]]:
    """Record groups of episodes in processes of their own, each its share; yield (episode, its steps).

    Raises RunError when a process fails. However the iteration ends, the processes have ended with it.
    """
    context = multiprocessing.get_context("spawn")  # a fork would share the graphics context
    stop = context.Event()
    processes: dict[Connection, BaseProcess] = {}
    count = min(config.workers, len(groups))
    with _ended(processes, stop):
        for worker in range(count):
            reading, writing = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(config, groups[worker::count], writing, stop), daemon=True
            )
            process.start()
            writing.close()  # else the end of the process would not end the pipe
            processes[reading] = process
        running = set(processes)
        while running:
            if interrupts.requested:
                stop.set()
            for ready in wait(list(running), timeout=POLL_S):
                assert isinstance(ready, Connection)
                report = _received(ready, processes[ready], is_stopping=stop.is_set())
                if report is None:
                    running.remove(ready)
                else:
                    yield report


def _received(connection: Connection, process: BaseProcess, *, is_stopping: bool) -> tuple[int, int] | None:
    """Return what a process says, or None when it is done. Raises RunError when it failed.

    A signal to the whole process group may end a process that has not begun: that is no failure.
    """
    try:
        report: Report = connection.recv()
    except EOFError as error:
        process.join()
        if process.exitcode and not is_stopping:
            raise RunError(
                f"a recording process ended with exit code {process.exitcode}; the episodes that are written are "
                "whole: run the same command again, with workers=0 to see why"
            ) from error
        return None
    if isinstance(report, str):
        raise RunError(report)
    return report


@contextmanager
def _ended(processes: dict[Connection, BaseProcess], stop: Event) -> Iterator[None]:
    """Ask all processes to stop, and wait for them, however the block ends."""
    try:
        yield
    finally:
        stop.set()
        for process in processes.values():
            process.join()


def _work(config: CollectConfig, groups: Sequence[Sequence[int]], writing: Connection, stop: Event) -> None:
    """Record episodes in a process of its own, and report each."""
    leave_signals_to_the_parent(0)
    torch.set_num_threads(1)
    try:
        with closing(Recorder(config)) as recorder:
            for numbers in groups:
                if stop.is_set():
                    return
                for report in write_recorded(recorder, Path(config.path), numbers):
                    writing.send(report)
    except JepaError as error:
        writing.send(str(error))
