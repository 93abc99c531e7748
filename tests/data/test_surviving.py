"""Processes are killed, hang and leak on purpose: the results stay those of the unbroken stream."""

import ctypes
import faulthandler
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from jepa.data import surviving
from jepa.data.signs import reading_file
from jepa.data.surviving import STRIKES, Surviving, WorkerLimits
from jepa.errors import DataError

KEPT = []  # what a leaking process never lets go of


class Squares:
    """Squares numbers; some of them it finds in files that do harm."""

    def __init__(self, harm=None, *, seconds=0.0, outside=None):
        self.harm, self.seconds, self.outside, self.avoided = harm or {}, seconds, outside, {}

    def avoid(self, path, reason):
        self.avoided[path] = reason

    def __getitem__(self, number):
        path = f"/videos/{number}.mp4"
        if self.outside:
            self.outside()
        if path in self.avoided:
            return number, "avoided", self.avoided[path]
        with reading_file(path):
            time.sleep(self.seconds)
            if number in self.harm:
                self.harm[number]()
        return number, number**2


def die():
    os._exit(3)


def crash():
    faulthandler.disable()  # which would write a page about it
    ctypes.string_at(0)


def hang():
    time.sleep(600)


def grow():
    KEPT.append(bytes(range(256)) * 600_000)  # 154 MB
    time.sleep(600)


def stream(results, count, *, workers=2, silence_s=60.0, memory_mb=None):
    return Surviving(results, range(count), WorkerLimits(workers, silence_s, memory_mb))


def squares(count):
    return [(number, number**2) for number in range(count)]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(surviving, "CHECK_S", 0.05)


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 23])
def test_results_come_in_order(workers, count):
    made = stream(Squares(), count, workers=workers)
    assert list(made) == squares(count)
    assert made.counts == {"workers_replaced": 0, "source_waits": 0}
    assert next(made, None) is None


def test_killed_at_random_moments_nothing_is_lost():
    draw = random.Random(0)
    made = stream(Squares(seconds=0.004), 300, workers=2)
    got, kills, due = [], 0, 0.0
    for result in made:
        got.append(result)
        if time.monotonic() > due and kills < 12:
            due = time.monotonic() + draw.uniform(0, 0.1)
            os.kill(draw.choice(multiprocessing.active_children()).pid, signal.SIGKILL)
            kills += 1
    assert got == squares(300)
    assert kills == 12 and 8 <= made.counts["workers_replaced"] <= kills  # one may be hit twice while it dies


def test_killed_while_results_are_waited_for():
    made = stream(Squares(seconds=0.05), 20, workers=1)
    first = next(made)
    timers = [
        threading.Timer(
            0.1 * place, lambda: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        )
        for place in (1, 2, 3)
    ]
    for timer in timers:
        timer.start()
    assert [first, *made] == squares(20)
    assert made.counts["workers_replaced"] == 3


@pytest.mark.parametrize(("harm", "how"), [(die, "ended with code 3"), (crash, "killed by SIGSEGV")])
def test_a_file_that_kills_is_avoided_after_three_times(harm, how):
    made = stream(Squares({5: harm, 6: harm}), 12, workers=2)
    got = list(made)
    reason = f"ended its decoding process: {how}"
    expected = squares(12)
    expected[5], expected[6] = (5, "avoided", reason), (6, "avoided", reason)
    assert got == expected
    assert made.counts["workers_replaced"] == 2 * STRIKES


def test_all_processes_learn_what_to_avoid():
    class Again(Squares):
        def __getitem__(self, number):
            return super().__getitem__(0 if number == 21 else number)  # which the other process gets, later

    made = stream(Again({0: die}), 30, workers=2)
    got = list(made)
    assert got[0] == got[21] == (0, "avoided", "ended its decoding process: ended with code 3")
    assert made.counts["workers_replaced"] == STRIKES


def test_a_silent_process_is_replaced_and_its_file_avoided_at_once():
    made = stream(Squares({3: hang}), 8, silence_s=0.3)
    begin = time.monotonic()
    got = list(made)
    assert time.monotonic() - begin < 5
    assert got[3] == (3, "avoided", "ended its decoding process: no sign of life for 0.3 s")
    assert got[:3] + got[4:] == squares(8)[:3] + squares(8)[4:]
    assert made.counts["workers_replaced"] == 1


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_a_stopped_process_is_replaced_whatever_it_was_about(seconds):
    made = stream(Squares(seconds=0.01), 60, silence_s=0.3, workers=1)
    got = [next(made)]
    time.sleep(seconds)  # after which it has made all that was ordered, and waits
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP)
    got += made
    assert [what[0] for what in got] == list(range(60))
    assert made.counts["workers_replaced"] == 1
    assert sum(what[1] == "avoided" for what in got) <= (
        0 if seconds else 1
    )  # what it had open when it was stopped


def test_a_busy_parent_is_no_reason_to_take_workers_for_silent():
    made = stream(Squares(seconds=0.02), 8, silence_s=0.1, workers=1)
    got = []
    for result in made:
        got.append(result)
        time.sleep(0.15)
    assert got == squares(8) and made.counts["workers_replaced"] == 0


def test_a_job_that_is_suspended_as_a_whole_blames_nobody():
    made = stream(Squares(seconds=0.02), 6, silence_s=0.4, workers=1)
    got = [next(made)]
    worker = multiprocessing.active_children()[0].pid
    os.kill(worker, signal.SIGSTOP)
    timer = threading.Timer(0.8, os.kill, [worker, signal.SIGCONT])
    timer.start()
    time.sleep(0.7)  # this process looks again a little before the worker goes on
    assert got + list(made) == squares(6) and made.counts["workers_replaced"] == 0
    timer.join()


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")


@needs_proc
def test_a_file_that_takes_too_much_memory_is_avoided():
    made = stream(Squares({2: grow}), 6, memory_mb=100)
    got = list(made)
    assert got[2] == (2, "avoided", "ended its decoding process: memory grew by more than 100 MB")
    assert made.counts["workers_replaced"] == 1


@needs_proc
def test_a_slow_leak_costs_the_process_and_no_file(monkeypatch):
    monkeypatch.setattr(surviving, "CHECK_S", 0.005)  # so that it is seen while a file is open

    def leak():
        KEPT.append(bytes(range(256)) * 40_000)  # 10 MB
        time.sleep(0.02)

    made = stream(Squares(dict.fromkeys(range(40), leak)), 40, memory_mb=100, workers=1)
    assert list(made) == squares(40)
    assert 2 <= made.counts["workers_replaced"] <= 5


def test_a_bug_comes_out_with_its_trace():
    def bug():
        raise TypeError("a bug")

    with pytest.raises(RuntimeError, match=r"a decoding process failed:\n(.*\n)*.*TypeError: a bug"):
        list(stream(Squares({1: bug}), 4))


def test_processes_that_always_die_stop_the_run(monkeypatch):
    monkeypatch.setattr(surviving, "MOST_IN_A_ROW", 4)
    with pytest.raises(
        DataError, match=r"die one after the other \(4 without a batch .* code 3, reading no file"
    ):
        list(stream(Squares(outside=die), 4, workers=1))


def test_what_is_not_needed_any_more_ends():
    made = stream(Squares(seconds=0.01), 1000)
    next(made)
    processes = multiprocessing.active_children()
    assert len(processes) == 2
    del made
    gc.collect()
    assert not any(process.is_alive() for process in processes)


ORPHANS = """
import os, sys, time
from jepa.data import surviving
from tests.data.test_surviving import Squares, stream
surviving.PARENT_CHECK_S = 0.1
made = stream(Squares(), 10000)
next(made)
sys.stdout.write(" ".join(str(hand.process.pid) for hand in made._hands) + "\\n")
sys.stdout.flush()
{end}
"""


@pytest.mark.parametrize("end", ["time.sleep(60)", "pass"])
def test_workers_end_with_their_parent(end):
    command = [sys.executable, "-c", ORPHANS.format(end=end)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(word) for word in parent.stdout.readline().split()]
        if end != "pass":
            parent.kill()
        parent.wait(20)
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    if not os.path.exists(f"/proc/{process}/stat"):
        return True
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
