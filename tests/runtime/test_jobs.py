"""The life of a job: real processes and real signals, with submitit's own code around them."""

import json
import signal
from pathlib import Path

import pytest
from submitit.core.utils import pickle_load

from tests.runtime.job_processes import REQUEUED, Task, stop_all, wait_for, write_verb


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(tmp_path / "jobs", write_verb(tmp_path / "cwd"))


def numbers(task: Task) -> list[int]:
    return [row["step"] for row in task.steps()]


def test_a_verb_that_ends_well_ends_the_job(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "99")  # of whatever submitted it: one process alone is in no group
    assert task.submit("counting", "3").start().ends() == 0
    assert numbers(task) == [1, 2, 3]
    assert task.note == {"state": "done", "exit_code": 0, "starts": 1}
    assert pickle_load(task.folder / "7_0_result.pkl") == ("success", "done")
    assert json.loads((task.cwd / "environment-0.json").read_text()) == {"JEPA_JOB": "7"}


def test_a_failure_ends_the_job_with_its_exit_code(task: Task) -> None:
    assert task.submit("failing", "1").start().ends() == 1
    assert (task.note["state"], task.note["exit_code"]) == ("failed", 3)
    outcome, trace = pickle_load(task.folder / "7_0_result.pkl")
    assert outcome == "error"
    assert "`jepa failing 1` ended with exit code 3" in trace


@pytest.mark.parametrize("mode", ["counting", "plain"])
def test_preempted_it_is_requeued_and_goes_on(task: Task, mode: str) -> None:
    """plain: the signal comes before the verb can answer, and ends it."""
    task.submit(mode, "30").start().reaches(3)
    task.send(signal.SIGUSR2)
    assert task.ends() == REQUEUED
    assert task.note["state"] == "requeued"
    assert (
        task.note["exit_code"] == {"counting": 75, "plain": -signal.SIGTERM}[mode]
    )  # it was asked, not killed
    assert not (task.folder / "7_0_result.pkl").exists()
    done = len(numbers(task))
    assert 3 <= done < 30
    assert task.start().ends() == 0
    assert numbers(task) == list(range(1, 31))
    assert task.note == {"state": "done", "exit_code": 0, "starts": 2}


def test_all_processes_of_a_job_may_get_the_signal_and_more_than_once(task: Task) -> None:
    """SLURM signals the verb as well as this process; then the time limit sends SIGTERM too."""
    task.submit("counting", "40").start().reaches(3)
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGTERM, signal.SIGUSR2):
        stop_all(number, task.process.pid)
    stop_all(signal.SIGTERM, task.verb)
    assert task.ends() == REQUEUED


def test_a_verb_that_does_not_answer_is_killed_and_the_job_requeued(task: Task) -> None:
    task.submit("deaf", "400", grace_s=0.3).start().reaches(2)
    task.send(signal.SIGUSR2)
    assert task.ends() == REQUEUED
    assert task.note["exit_code"] == -signal.SIGKILL


def test_after_sigterm_slurm_decides(task: Task) -> None:
    """A job that is cancelled gets SIGTERM, and must not requeue itself; one that is preempted gets SIGUSR2 too."""
    task.submit("counting", "400").start().reaches(2)
    verb = task.verb
    task.send(signal.SIGTERM)
    wait_for(lambda: task.note["state"] == "stopped")
    done = numbers(task)
    assert task.process.poll() is None
    task.send(signal.SIGUSR2)
    assert task.ends() == REQUEUED
    assert numbers(task) == done
    assert task.verb == verb


def test_after_sigterm_and_nothing_else_the_verb_goes_on(task: Task) -> None:
    task.submit("counting", "12", decision_s=0.2).start().reaches(2)
    task.send(signal.SIGTERM)
    assert task.ends() == 0
    assert numbers(task) == list(range(1, 13))
    assert len({row["pid"] for row in task.steps()}) == 2
    assert task.note == {"state": "done", "exit_code": 0, "starts": 2}


def test_a_verb_that_was_interrupted_alone_is_started_again(task: Task) -> None:
    task.submit("counting", "12", decision_s=0.2).start().reaches(2)
    stop_all(signal.SIGTERM, task.verb)
    assert task.ends() == 0
    assert numbers(task) == list(range(1, 13))


def test_ctrl_c_cancels(task: Task) -> None:
    task.submit("counting", "400").start().reaches(2)
    task.send(signal.SIGINT)
    assert task.ends() == 130
    assert task.note["state"] == "cancelled"


def test_each_task_gets_what_torchrun_would_give_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first task requeues the job; the others end, and leave no result."""
    monkeypatch.setenv("WORLD_SIZE", "99")  # of whatever submitted it
    cwd = write_verb(tmp_path / "cwd")
    tasks = [Task(tmp_path / "jobs", cwd, rank, 2).submit("counting", "40").start() for rank in range(2)]
    for task in tasks:
        task.reaches(2)
    found = [json.loads((cwd / f"environment-{rank}.json").read_text()) for rank in range(2)]
    assert [one["RANK"] for one in found] == ["0", "1"] == [one["LOCAL_RANK"] for one in found]
    assert {one["WORLD_SIZE"] for one in found} == {"2"} == {one["LOCAL_WORLD_SIZE"] for one in found}
    assert {one["MASTER_ADDR"] for one in found} == {"127.0.0.1"}
    assert len({one["MASTER_PORT"] for one in found}) == 1
    for task in tasks:
        task.send(signal.SIGUSR2)
    assert [task.ends() for task in tasks] == [REQUEUED, 0]
    assert not list((tmp_path / "jobs").glob("*_result.pkl"))


def test_the_first_task_decides_for_the_others(tmp_path: Path) -> None:
    """Training in step, all stop when one is told to; only the first has the signal here."""
    cwd = write_verb(tmp_path / "cwd")
    tasks = [Task(tmp_path / "jobs", cwd, rank, 2).submit("counting", "400").start() for rank in range(2)]
    for task in tasks:
        task.reaches(2)
    stop_all(signal.SIGTERM, tasks[1].verb)
    tasks[0].send(signal.SIGUSR2)
    assert [task.ends() for task in tasks] == [REQUEUED, 0]
