"""Decoding processes that may die, hang or leak: what they were to make is made again, and they are counted."""

import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.util import Finalize
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import multiprocessing  # not Python's own: tensors then travel through shared memory

from jepa.data.signs import CURRENT, Board, own_memory
from jepa.data.workers import leave_signals_to_the_parent
from jepa.errors import DataError

AHEAD = 2  # results that each process may be ahead
CHECK_S = 0.5  # between two looks at the processes, while waiting for one of them
PARENT_CHECK_S = 5.0
STRIKES = 3  # deaths over one file in one batch: a single one may have had another reason
MOST_IN_A_ROW = 64  # replacements without a result between them

P = TypeVar("P")
T = TypeVar("T")
R = TypeVar("R")
B = TypeVar("B")
P_contra = TypeVar("P_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)


class Results(Protocol[P_contra, T_co]):
    """Makes a result of a plan; the same in whichever process, after whatever other results."""

    def __getitem__(self, plan: P_contra, /) -> T_co:
        """Return the result; what it reads is noted with `jepa.data.signs.reading_file`."""
        ...

    def avoid(self, path: str, reason: str) -> None:
        """Take a file that was noted for one that cannot be read, from now on."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What decoding processes may do."""

    workers: int
    """How many there are; 0 decodes in this process, which nothing then watches."""
    silence_s: float
    """One that is at work, but gives no sign of life for longer, is replaced."""
    memory_mb: int | None = None
    """One whose own memory grows by more is replaced; None never asks."""


class Surviving(Iterator[T], Generic[P, T]):
    """The results of ``plans``, in their order, made by processes that are replaced when they fail.

    A result depends on its plan alone, so what a lost process was to make is given to its successor. A file whose
    process was silent or grew too large over it is avoided from then on, as is one over which `STRIKES` processes
    died in a row in one batch: it counts as unreadable.

    Raises DataError where processes die one after the other, and RuntimeError for a bug, with its trace.
    """

    def __init__(
        self,
        results: Results[P, T],
        plans: Iterable[P],
        limits: WorkerLimits,
        *,
        pin: Callable[[T], T] | None = None,
    ) -> None:
        """Take plans as they are needed. ``pin`` copies a result to page-locked memory, in a thread."""
        self._make, self._plans, self._limits = results, enumerate(plans), limits
        self._board = Board(max(1, limits.workers))
        self._hands: list[_Hand[P]] = []
        self._came: dict[int, T | Future[T]] = {}
        self._due = self._given = 0
        self._strikes: Counter[tuple[int, str]] = Counter()
        self._watching_since = self._looked = time.monotonic()
        self._in_a_row = self.replaced = 0
        self._pin = pin
        self._pinning = None if pin is None else ThreadPoolExecutor(1, "pin")

    @property
    def counts(self) -> dict[str, float]:
        """Return what went wrong so far, for a line of metrics."""
        return {"workers_replaced": self.replaced, "source_waits": self._board.waits}

    def __next__(self) -> T:
        if self._limits.workers == 0:
            return self._own()
        if not self._hands:
            self._hands.extend(self._hire(row) for row in range(self._limits.workers))
            Finalize(self, _end, (self._hands,), exitpriority=100)  # before Python waits for its children
        self._order()
        if self._due == self._given:
            raise StopIteration
        self._receive(0)  # what has been made is no longer waited for
        self._look()
        while self._due not in self._came:
            self._receive(CHECK_S)
            self._look()
        result = self._came.pop(self._due)
        self._due += 1
        self._order()
        self._receive(0)  # so that the next one is pinned while this one is used
        return result.result() if isinstance(result, Future) else result

    def _own(self) -> T:
        """Make a result in this process."""
        _, plan = next(self._plans)
        token = CURRENT.set(self._board.sign(0))
        try:
            result = self._make[plan]
        finally:
            CURRENT.reset(token)
        return result if self._pin is None else self._pin(result)

    def _order(self) -> None:
        """Give out plans until every process is `AHEAD`."""
        while self._given < self._due + AHEAD * len(self._hands):
            numbered = next(self._plans, None)
            if numbered is None:
                return
            number, plan = numbered
            self._hands[number % len(self._hands)].order(number, plan)
            self._given += 1

    def _receive(self, seconds: float) -> None:
        """Take what has been made, waiting so long for the first."""
        lines = {hand.line: hand for hand in self._hands}
        ends = [hand.process.sentinel for hand in self._hands] if seconds else []
        for ready in connection.wait([*lines, *ends], seconds):
            if isinstance(ready, connection.Connection):
                hand = lines[ready]
                while self._take(hand) and hand.line.poll():
                    pass

    def _take(self, hand: "_Hand[P]") -> bool:
        """Take one answer. Returns whether the process was still there to give it."""
        try:
            answer = hand.line.recv()
        except (EOFError, OSError):  # it died before all of the result was here
            hand.process.kill()
            hand.process.join()
            self._replace(hand, _ending(hand.process.exitcode))
            return False
        if isinstance(answer, _Bug):
            raise RuntimeError(f"a decoding process failed:\n{answer.trace}")
        number, result = answer
        del hand.ordered[number]
        self._in_a_row = 0
        if self._pin is None or self._pinning is None:
            self._came[number] = result
        else:
            self._came[number] = self._pinning.submit(self._pin, result)
        return True

    def _look(self) -> None:
        """Replace processes that died, are silent, or have grown too large."""
        now = time.monotonic()
        if now - self._looked > 10 * CHECK_S:  # this process was busy, or both were stopped: no silence yet
            self._watching_since = now
        self._looked = now
        for hand in list(self._hands):
            if not hand.process.is_alive():
                self._replace(hand, _ending(hand.process.exitcode))
                continue
            doing = self._board.doing(hand.row)
            silent_s = min(doing.silent_s, now - hand.asked, now - self._watching_since)
            if hand.ordered and silent_s > self._limits.silence_s:
                self._replace(hand, f"no sign of life for {self._limits.silence_s:g} s", is_its_fault=True)
            elif self._limits.memory_mb is not None and doing.started_bytes:
                most, memory = self._limits.memory_mb * 1e6, own_memory(hand.process.pid)
                if memory - doing.started_bytes > most:
                    over_it = memory - doing.opened_bytes > most / 2
                    self._replace(
                        hand, f"memory grew by more than {self._limits.memory_mb} MB", is_its_fault=over_it
                    )

    def _replace(self, hand: "_Hand[P]", reason: str, *, is_its_fault: bool = False) -> None:
        """Put a new process in the place of one, with the same plans; blame the file that it had open."""
        hand.process.kill()
        hand.process.join()
        hand.line.close()
        path = self._board.doing(hand.row).path
        self.replaced += 1
        self._in_a_row += 1
        if self._in_a_row > MOST_IN_A_ROW:
            raise DataError(
                f"decoding processes die one after the other ({MOST_IN_A_ROW} without a batch between them), the last: "
                f"{reason}, reading {path or 'no file'} — look at the machine's memory and /dev/shm, or set "
                "data.workers to 0 to see what happens"
            )
        if path is not None and hand.ordered:
            blamed = (min(hand.ordered), path)
            self._strikes[blamed] += 1
            if is_its_fault or self._strikes[blamed] >= STRIKES:
                self._avoid(path, f"ended its decoding process: {reason}")
        successor = self._hire(hand.row)
        self._hands[self._hands.index(hand)] = successor
        for number, plan in sorted(hand.ordered.items()):
            successor.order(number, plan)

    def _avoid(self, path: str, reason: str) -> None:
        """Tell everybody, those to come too, to avoid a file."""
        self._make.avoid(path, reason)
        for hand in self._hands:
            hand.send(_Avoid(path, reason))

    def _hire(self, row: int) -> "_Hand[P]":
        """Start a process."""
        self._board.sign(row).clear()
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(
            target=_work, args=(self._make, self._board, row, theirs), daemon=True
        )
        process.start()
        theirs.close()  # only the process holds it: its end is then the end of the line
        return _Hand(row, process, ours)


class Batches(Iterator[B], Generic[R, B]):
    """Batches, and what happened to the processes that make them; errors that those hand over are raised."""

    def __init__(self, parts: "Surviving[Any, R | DataError]", batch: Callable[[R], B]) -> None:
        """Take results, of each of which ``batch`` makes a batch."""
        self._parts, self._batch = parts, batch

    @property
    def counts(self) -> dict[str, float]:
        """Return ``workers_replaced`` and ``source_waits`` so far, for a line of metrics."""
        return self._parts.counts

    def __next__(self) -> B:
        parts = next(self._parts)
        if isinstance(parts, DataError):
            raise parts
        return self._batch(parts)


class _Avoid(NamedTuple):
    path: str
    reason: str


class _Bug(NamedTuple):
    trace: str


@dataclass(eq=False)
class _Hand(Generic[P]):
    """A process, seen from the one that gives the orders."""

    row: int
    process: Any
    line: Any
    ordered: dict[int, P] = field(default_factory=dict)
    asked: float = 0.0
    """When it was given the last order."""

    def order(self, number: int, plan: P) -> None:
        """Ask for a result."""
        self.ordered[number], self.asked = plan, time.monotonic()
        self.send((number, plan))

    def send(self, what: object) -> None:
        """Send an order; to a process that has just died nothing is sent, its successor gets it."""
        if self.process.is_alive():
            try:
                self.line.send(what)
            except BrokenPipeError:
                self.process.join(CHECK_S)


def _work(results: Results[P, T], board: Board, row: int, line: Any) -> None:
    """Make results until there is nobody to make them for."""
    leave_signals_to_the_parent(row)
    torch.set_num_threads(1)
    sign = board.sign(row)
    CURRENT.set(sign)
    sign.begin()
    above, parent = os.getppid(), multiprocessing.parent_process()
    # The first tells at once where processes are forked; the second wherever they come from.
    while os.getppid() == above and (parent is None or parent.is_alive()):
        if not line.poll(PARENT_CHECK_S):
            continue
        try:
            order = line.recv()
        except EOFError:
            return
        if isinstance(order, _Avoid):
            results.avoid(*order)
            continue
        sign.alive()
        try:
            answer = order[0], results[order[1]]
        except Exception as error:  # whatever it is, the training process is to see where it came from
            line.send(_Bug(traceback.format_exc()))
            raise SystemExit(1) from error
        sign.alive()
        line.send(answer)


def _end(hands: "list[_Hand[Any]]") -> None:
    """End all processes. They hold nothing of value, and do not listen to milder signals."""
    for hand in hands:
        hand.process.kill()
    for hand in hands:
        hand.process.join()
        hand.line.close()


def _ending(code: int | None) -> str:
    """Say how a process ended."""
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
