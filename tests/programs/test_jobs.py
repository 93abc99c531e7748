"""`jepa jobs`: what is listed, and what a cancellation reaches."""

from pathlib import Path

import pytest

from jepa.errors import RunError
from jepa.programs.jobs import SHOWN, cancel_jobs, jobs, render
from jepa.runtime.job_list import JobRecord, remember
from jepa.runtime.jobs import JobNote
from jepa.runtime.metrics import MetricsLog
from jepa.runtime.terminal import table_console
from tests.runtime.conftest import own_list, slurm  # noqa: F401 - fixtures
from tests.runtime.fake_slurm import FakeSlurm


def listed(tmp_path: Path, slurm: FakeSlurm, **states: str) -> None:  # noqa: F811
    """Put jobs on the list, and into SLURM."""
    for name, state in states.items():
        number = name.removeprefix("job")
        run = tmp_path / number
        record = JobRecord(
            number,
            "slurm",
            str(tmp_path),
            str(run),
            f"jepa pretrain {run}/c.yaml",
            f"{run}/log",
            "2026-01-01",
        )
        remember([record])
        (slurm.root / f"job-{number}.json").write_text(f'{{"state": "{state}", "tasks": []}}')


def test_state_step_and_places(slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    listed(tmp_path, slurm, job1="RUNNING", job2="PENDING")
    with MetricsLog(tmp_path / "1") as log:
        log.write(1240, {"loss": 0.1})
    found = jobs()
    assert [(job.record.id, job.state, job.step) for job in found] == [
        ("1", "running", 1240),
        ("2", "pending", None),
    ]
    assert found[0].to_dict()["run_dir"] == str(tmp_path / "1")
    console = table_console()
    with console.capture() as captured:
        console.print(render(found))
    for text in ("pretrain", "running", "1,240", " 1/log"):
        assert text in captured.get()
    assert str(tmp_path) not in captured.get()  # what lies below this folder is named from here


def test_none_at_all(own_list: Path) -> None:  # noqa: F811
    assert jobs() == []
    assert "--slurm PARTITION" in render([])


def test_old_ends_are_left_out_unless_asked_for(tmp_path: Path, own_list: Path) -> None:  # noqa: F811
    for number in range(SHOWN + 5):
        run = str(tmp_path / str(number))
        remember([JobRecord(str(number), "local", str(tmp_path), run, "jepa plan x", "log", "")])
        JobNote(tmp_path, str(number)).write("done", 0)
    assert [job.record.id for job in jobs()] == [str(number) for number in range(5, SHOWN + 5)]
    assert len(jobs(everything=True)) == SHOWN + 5


@pytest.mark.slow
def test_cancelling_one_an_array_or_all(slurm: FakeSlurm, tmp_path: Path) -> None:  # noqa: F811
    states = {"7_0": "RUNNING", "7_1": "COMPLETED", "8": "PENDING", "70": "RUNNING", "9": "RUNNING"}
    listed(tmp_path, slurm, **{f"job{number}": state for number, state in states.items()})
    assert [job.record.id for job in cancel_jobs("7")] == ["7_0"]
    assert [job.record.id for job in cancel_jobs("8")] == ["8"]
    assert slurm.job("7_1")["state"] == "COMPLETED"
    assert [job.record.id for job in cancel_jobs("all")] == ["70", "9"]
    assert {job.record.id: job.state for job in jobs()} == {
        "7_0": "cancelled",
        "7_1": "done",
        "8": "cancelled",
        "70": "cancelled",
        "9": "cancelled",
    }
    assert cancel_jobs("all") == []
    with pytest.raises(RunError, match=r"job 8 has ended \(cancelled\)"):
        cancel_jobs("8")
    with pytest.raises(RunError, match="job 5 is not on the list; jobs that have not ended: none"):
        cancel_jobs("5")
