"""What is asked of SLURM, and that what is asked runs, through submitit's own submission."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from jepa.errors import ConfigError, RunError
from jepa.runtime.jobs import JobCommand, JobNote
from jepa.runtime.slurm import Resources, local_parameters, read_arguments, read_minutes, submit
from tests.runtime.fake_slurm import FakeSlurm
from tests.runtime.job_processes import stop_all, wait_for, write_verb


def steps(cwd: Path) -> list[int]:
    path = cwd / "steps-0.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


def test_the_script_asks_for_what_was_asked(slurm: FakeSlurm, tmp_path: Path) -> None:
    more = {"exclusive": "user", "setup": ["module load cuda", "ulimit -n 65536"], "reservation": "jepa"}
    resources = Resources(
        "gpu",
        nodes=2,
        gpus_per_node=8,
        cpus_per_task=12,
        minutes=2880,
        memory="500G",
        account="vision",
        qos="high",
        constraint="h100",
        job_name="jepa-pretrain",
        more=more,
    )
    folder = tmp_path / "run" / "jobs"
    ((number, log),) = submit(resources, folder, [JobCommand(("counting", "0"), str(tmp_path))])
    assert (number, log) == ("4242", folder / "4242_0_log.out")
    text = slurm.script(number)
    flags = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))
    assert flags == {
        "partition": "gpu",
        "nodes": "2",
        "ntasks-per-node": "8",
        "gpus-per-node": "8",
        "cpus-per-task": "12",
        "time": "2880",
        "mem": "500G",
        "account": "vision",
        "qos": "high",
        "constraint": "h100",
        "job-name": "jepa-pretrain",
        "exclusive": "user",
        "reservation": "jepa",
        "signal": "USR2@120",  # before the time limit, for the checkpoint
        "requeue": "",  # may be started again
        "open-mode": "append",  # a requeued job goes on in the same log
        "output": f"{folder}/%j_0_log.out",
    }
    setup, command = text.index("module load cuda\nulimit -n 65536"), text.index("srun --unbuffered")
    assert setup < command
    assert "-m submitit.core._submit" in text[command:]
    assert str(folder) in text[command:]
    assert "--kill-on-bad-exit=1 --cpus-per-task=12" in text[command:]  # a process that is lost ends all


@pytest.mark.slow
def test_a_sweep_is_a_job_array(slurm: FakeSlurm, tmp_path: Path) -> None:
    commands = [JobCommand(("counting", str(goal)), str(write_verb(tmp_path / str(goal)))) for goal in (2, 3)]
    submitted = submit(Resources("gpu", more={"array_parallelism": 1}), tmp_path / "jobs", commands)
    assert [number for number, _ in submitted] == ["4242_0", "4242_1"]
    assert "#SBATCH --array=0-1%1\n" in slurm.script("4242")
    assert "#SBATCH --gpus-per-node" not in slurm.script("4242")
    for (number, log), goal in zip(submitted, (2, 3), strict=True):
        wait_for(lambda number=number: slurm.job(number)["state"] == "COMPLETED")
        assert steps(tmp_path / str(goal)) == list(range(1, goal + 1))
        assert "Job completed successfully" in log.read_text()
        assert JobNote(tmp_path / "jobs", number).read()["state"] == "done"


@pytest.mark.slow
def test_a_job_that_is_preempted_asks_slurm_to_requeue_it_and_ends_well(
    slurm: FakeSlurm, tmp_path: Path
) -> None:
    cwd = write_verb(tmp_path / "cwd")
    command = JobCommand(("counting", "40"), str(cwd))
    ((number, log),) = submit(Resources("gpu"), tmp_path / "jobs", [command])
    wait_for(lambda: len(steps(cwd)) > 2)
    for signal_number in (signal.SIGCONT, signal.SIGTERM, signal.SIGUSR2):
        stop_all(signal_number, *slurm.job(number)["tasks"])
    wait_for(lambda: slurm.job(number)["state"] == "COMPLETED")
    assert steps(cwd) == list(range(1, 41))
    assert JobNote(tmp_path / "jobs", number).read() == {"state": "done", "exit_code": 0, "starts": 2}
    assert "Requeued job 4242" in log.read_text()


def test_nodes_and_gpus_become_ranks(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines with two GPUs each: four processes, which meet at the first machine."""
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")  # submitted from inside another job
    monkeypatch.setenv("RANK", "5")
    cwd = write_verb(tmp_path / "cwd")
    resources = Resources("gpu", nodes=2, gpus_per_node=2)
    ((number, _),) = submit(resources, tmp_path / "jobs", [JobCommand(("counting", "1"), str(cwd))])
    wait_for(lambda: slurm.job(number)["state"] == "COMPLETED")
    found = [json.loads((cwd / f"environment-{rank}.json").read_text()) for rank in range(4)]
    assert [(one["RANK"], one["LOCAL_RANK"]) for one in found] == [
        ("0", "0"),
        ("1", "1"),
        ("2", "0"),
        ("3", "1"),
    ]
    assert {(one["WORLD_SIZE"], one["LOCAL_WORLD_SIZE"], one["MASTER_ADDR"]) for one in found} == {
        ("4", "2", "node1")
    }
    assert {one["JEPA_JOB"] for one in found} == {number}
    assert "1" not in {one["MASTER_PORT"] for one in found}
    assert os.environ["RANK"] == "5"


def test_what_slurm_refuses_is_said(slurm: FakeSlurm, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="sbatch refused the job: sbatch: error: invalid partition"):
        submit(Resources("closed"), tmp_path, [JobCommand(("counting", "1"), str(tmp_path))])


def test_without_slurm_there_is_a_way_to_try_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match=r"SLURM is not on this machine.*--slurm local"):
        submit(Resources("gpu"), tmp_path, [])


def test_a_local_job_runs_in_a_session_of_its_own(tmp_path: Path) -> None:
    cwd = write_verb(tmp_path / "cwd")
    resources = Resources("local", minutes=5)
    ((number, log),) = submit(resources, tmp_path / "jobs", [JobCommand(("counting", "30"), str(cwd))])
    wait_for(lambda: bool(steps(cwd)))
    assert os.getsid(int(number)) != os.getsid(0)
    wait_for(lambda: JobNote(tmp_path / "jobs", number).read()["state"] == "done")
    assert log.exists()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30:00", 90), ("0:00:01", 1), ("2-00:00:00", 2880), ("1-01:01:01", 1502)],
)
def test_lengths_of_time(text: str, minutes: int) -> None:
    assert read_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "1:30", "1-30", "-1", "0", "0:00:00", "1.5"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ConfigError, match="--time: .* give"):
        read_minutes(text)


def test_arguments_of_sbatch() -> None:
    given = ["gres=gpu:a100:4", "--signal-delay-s=300", "setup=module load x", "setup=source y"]
    assert read_arguments(given) == {
        "gres": "gpu:a100:4",
        "signal_delay_s": 300,
        "setup": ["module load x", "source y"],
    }
    for wrong, match in (
        ("exclusive", "is not KEY=VALUE"),
        ("=3", "is not KEY=VALUE"),
        ("output=x", "set by jepa"),
    ):
        with pytest.raises(ConfigError, match=match):
            read_arguments([wrong])


def test_the_warning_before_the_time_limit_leaves_time_for_requeuing(
    slurm: FakeSlurm, tmp_path: Path
) -> None:
    from submitit.core.utils import DelayedSubmission

    command = JobCommand(("counting", "0"), str(write_verb(tmp_path / "cwd")))
    ((number, _),) = submit(Resources("gpu", more={"signal_delay_s": 300}), tmp_path / "jobs", [command])
    assert "#SBATCH --signal=USR2@300\n" in slurm.script(number)
    written = DelayedSubmission.load(tmp_path / "jobs" / f"{number}_submitted.pkl")
    assert written.function.grace_s == 270


def test_one_machine_has_no_partitions() -> None:
    with pytest.raises(ConfigError, match="--nodes: 2 nodes, but --slurm local has one"):
        local_parameters(Resources("local", nodes=2))
    with pytest.raises(ConfigError, match="--slurm-arg gres, --qos: have no effect with --slurm local"):
        local_parameters(Resources("local", qos="high", more={"gres": "x"}))
    assert local_parameters(Resources("local", more={"ntasks_per_node": 2}))["tasks_per_node"] == 2
