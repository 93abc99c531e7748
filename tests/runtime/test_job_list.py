"""Where jobs stand, by what they say, what SLURM says and what runs here; and how they end."""

from pathlib import Path

import pytest

from jepa.errors import RunError
from jepa.runtime.job_list import JobRecord, cancel, is_alive, recall, remember, states
from jepa.runtime.jobs import JobCommand, JobNote
from jepa.runtime.slurm import Resources, submit
from tests.runtime.fake_slurm import FakeSlurm
from tests.runtime.job_processes import wait_for, write_verb


def record(number: str, folder: Path, cluster: str = "slurm") -> JobRecord:
    return JobRecord(
        number, cluster, str(folder), str(folder), "jepa pretrain x.yaml", "log", "2026-01-01T00:00:00"
    )


def submitted(tmp_path: Path, partition: str, goal: int) -> JobRecord:
    """A job that counts."""
    command = JobCommand(("counting", str(goal)), str(write_verb(tmp_path / "cwd")))
    ((number, _),) = submit(Resources(partition), tmp_path / "jobs", [command])
    return record(number, tmp_path / "jobs", "local" if partition == "local" else "slurm")


def test_the_list_is_kept_and_a_damaged_line_named(tmp_path: Path, own_list: Path) -> None:
    assert recall() == []
    remember([record("1", tmp_path)])
    remember([record("2", tmp_path), record("3_0", tmp_path)])
    assert [one.id for one in recall()] == ["1", "2", "3_0"]
    with own_list.open("a") as file:
        file.write('{"id": "4"}\n')
    with pytest.raises(RunError, match="jobs.jsonl: line 4 is damaged"):
        recall()


def test_a_list_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match=r"jobs.jsonl cannot be written .*set XDG_CACHE_HOME"):
        remember([])


def test_a_job_of_slurm_from_its_start_to_its_end(slurm: FakeSlurm, tmp_path: Path) -> None:
    one = submitted(tmp_path, "gpu", 400)
    wait_for(lambda: states([one])[one.id] == "running")
    cancel(one)
    wait_for(lambda: slurm.job(one.id)["state"] == "CANCELLED")
    assert states([one]) == {one.id: "cancelled"}
    assert not slurm.job(one.id).get("again"), "a job that was cancelled must not requeue itself"


@pytest.mark.parametrize("missing", [(), ("sacct",), ("squeue",)])
def test_slurm_is_asked_with_what_there_is(slurm: FakeSlurm, tmp_path: Path, missing: tuple) -> None:
    slurm.without(*missing)
    rows = {"1": "PENDING", "2": "RUNNING", "3": "TIMEOUT", "4": "COMPLETED"}
    for number, state in rows.items():
        (slurm.root / f"job-{number}.json").write_text(f'{{"state": "{state}"}}')
    found = states([record(number, tmp_path) for number in rows])
    ended = ["lost", "lost"] if missing == ("sacct",) else ["failed", "done"]
    assert list(found.values()) == ["pending", "running", *ended]


def test_ranges_of_an_array_are_understood(slurm: FakeSlurm, tmp_path: Path) -> None:
    (slurm.root / "job-7_[1-3,5%2].json").write_text('{"state": "PENDING"}')
    (slurm.root / "job-7_0.json").write_text('{"state": "RUNNING"}')
    records = [record(f"7_{part}", tmp_path) for part in (0, 1, 2, 5, 6)]
    assert list(states(records).values()) == ["running", "pending", "pending", "pending", "lost"]


def test_without_slurm_its_jobs_are_unknown_unless_they_said_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    JobNote(tmp_path, "2").write("done", 0)
    assert states([record("1", tmp_path), record("2", tmp_path)]) == {"1": "unknown", "2": "done"}
    with pytest.raises(RunError, match="job 1: there is no scancel"):
        cancel(record("1", tmp_path))


def test_a_local_job_is_known_by_its_process(tmp_path: Path) -> None:
    one = submitted(tmp_path, "local", 400)
    wait_for(lambda: states([one])[one.id] == "running")
    assert is_alive(one)
    cancel(one)
    wait_for(lambda: not is_alive(one))
    assert states([one]) == {one.id: "cancelled"}


def test_a_process_of_the_same_number_is_another(tmp_path: Path) -> None:
    import os

    mine = record(str(os.getpid()), tmp_path, "local")
    JobNote(tmp_path, mine.id).write("running")
    assert states([mine]) == {mine.id: "lost"}
    cancel(mine)  # and must not be killed
