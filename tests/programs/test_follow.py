"""Following jobs: their logs arrive as they are written, and Ctrl-C is for the follower alone."""

import os
import signal
import threading
from pathlib import Path

import pytest

from jepa.programs import follow as program
from jepa.programs.follow import follow
from jepa.runtime.job_list import JobRecord
from jepa.runtime.jobs import JobCommand, JobNote
from jepa.runtime.slurm import Resources, submit
from tests.runtime.job_processes import wait_for, write_verb


def record(tmp_path: Path, number: str, cluster: str = "slurm", name: str = "") -> JobRecord:
    log = tmp_path / f"{number}_0_log.out"
    return JobRecord(number, cluster, str(tmp_path), str(tmp_path), "jepa pretrain", str(log), "", name)


def test_lines_of_several_jobs_bear_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "POLL_S", 0.01)
    records = [record(tmp_path, str(number), name=f"seed={number}") for number in range(2)]
    for one in records:
        Path(one.log).write_text(f"loss [{one.id}]\n")
        JobNote(tmp_path, one.id).write("done" if one.id == "0" else "failed", 1)
    assert follow(records) == {"0": "done", "1": "failed"}
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", ["[seed=0] loss [0]", "[seed=1] loss [1]"])


def test_a_job_that_slurm_does_not_know_yet_is_not_given_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter(["lost", "pending", "lost", "lost", "lost"])
    monkeypatch.setattr(program, "POLL_S", 0.0)
    monkeypatch.setattr(program, "ASK_S", -1.0)
    monkeypatch.setattr(program, "states", lambda records: {"1": next(told)})
    assert follow([record(tmp_path, "1")]) == {"1": "lost"}
    assert next(told, None) is None


@pytest.mark.slow
def test_ctrl_c_ends_the_following_and_not_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cwd = write_verb(tmp_path / "cwd")
    command = JobCommand(("counting", "60"), str(cwd))
    ((number, log),) = submit(Resources("local"), tmp_path / "jobs", [command])
    note = JobNote(tmp_path / "jobs", number)
    one = JobRecord(number, "local", str(tmp_path / "jobs"), str(cwd), "jepa pretrain", str(log), "")

    def press() -> None:
        wait_for(lambda: note.read()["state"] == "running")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    assert follow([one]) == {number: "running"}
    wait_for(lambda: note.read()["state"] == "done")
    assert follow([one]) == {number: "done"}
    assert "Starting with JobEnvironment" in capsys.readouterr().err
