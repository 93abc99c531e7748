"""Jobs, sweeps and watching, as a user meets them on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jepa.config.load import dump
from jepa.config.schema import PretrainConfig
from jepa.errors import InterruptError
from jepa.runtime.metrics import MetricsLog
from tests.cli.conftest import Run
from tests.programs.conftest import run_config, videos  # noqa: F401 - fixtures
from tests.runtime.conftest import own_list, slurm  # noqa: F401 - fixtures
from tests.runtime.fake_slurm import FakeSlurm


@pytest.fixture
def config_file(run_config: Callable[..., PretrainConfig], tmp_path: Path) -> Path:  # noqa: F811
    path = tmp_path / "tiny.yaml"
    path.write_text(dump(run_config()))
    return path


def test_submitting_listing_and_cancelling(
    jepa: Run,
    slurm: FakeSlurm,  # noqa: F811
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_FULL", "1")
    flags = ["--slurm", "gpu", "--nodes", 4, "--gpus-per-node", 8, "--time", "1-00:00:00", "--mem", "500G"]
    flags += ["--cpus-per-task", 12, "--qos", "high", "--account", "a", "--constraint", "h100", "--no-follow"]
    done = jepa("pretrain", config_file, *flags, "--slurm-arg", "exclusive=user", "--set", "seed=7", "--json")
    assert done.code == 0, done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    assert (job["id"], job["state"], job["run_dir"]) == ("4242", "submitted", str(tmp_path / "run"))
    assert "job 4242 submitted; log: " in done.stderr
    script = slurm.script("4242")
    wanted = "nodes=4 ntasks-per-node=8 time=1440 mem=500G cpus-per-task=12 qos=high job-name=jepa-pretrain"
    for flag in (*wanted.split(), "account=a", "constraint=h100", "exclusive=user", "partition=gpu"):
        assert f"#SBATCH --{flag}\n" in script
    (listed,) = json.loads(jepa("jobs", "--json").stdout)["jobs"]
    assert (listed["id"], listed["state"], listed["step"]) == ("4242", "pending", None)
    assert "4242" in jepa("jobs").stdout
    assert jepa("jobs", "--cancel", "4242").code == 0
    assert slurm.job("4242")["state"] == "CANCELLED"
    again = jepa("jobs", "--cancel", "4242")
    assert (again.code, "has ended" in again.stderr) == (1, True)


def test_a_sweep_is_submitted_as_one_array(
    jepa: Run,
    slurm: FakeSlurm,  # noqa: F811
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_FULL", "1")
    sweep = ["--sweep", "optim.learning_rate=1e-4,3e-4", "--sweep", "seed=0,1"]
    done = jepa("pretrain", config_file, "--slurm", "gpu", "--no-follow", "--json", *sweep)
    jobs = json.loads(done.stdout)["jobs"]
    assert [job["id"] for job in jobs] == [f"4242_{part}" for part in range(4)]
    assert jobs[3]["run_dir"] == f"{tmp_path / 'run'}-learning_rate=3e-4-seed=1"
    assert "#SBATCH --array=0-3%4\n" in slurm.script("4242")


def test_options_of_jobs_need_a_job(jepa: Run, config_file: Path) -> None:
    done = jepa("pretrain", config_file, "--nodes", 2, "--no-follow")
    assert done.code == 2
    assert "--nodes, --follow: only for jobs; add --slurm PARTITION" in done.stderr
    assert jepa("pretrain", config_file, "--slurm", "gpu", "--time", "soon").code == 2
    wrong = jepa("pretrain", config_file, "--slurm", "gpu", "--set", "optim.lr=1")
    assert (wrong.code, "optim.lr: unknown key" in wrong.stderr) == (2, True)


def test_without_slurm_that_is_said(jepa: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    done = jepa("pretrain", config_file, "--slurm", "gpu")
    assert done.code == 1
    assert "SLURM is not on this machine" in done.stderr
    assert "no jobs" in jepa("jobs").stdout


@pytest.mark.parametrize("verb", ["pretrain", "world-model", "plan", "probe", "embed", "eval"])
def test_every_long_verb_has_the_same_options(jepa: Run, verb: str) -> None:
    shown = jepa(verb, "--help").stdout
    assert all(flag in shown for flag in ("--slurm", "--nodes", "--sweep", "--follow"))


def test_an_interrupted_verb_asks_its_job_to_be_started_again(
    jepa: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jepa.programs import pretrain as program
    from jepa.programs.loop import TrainingResult

    interrupted = TrainingResult("interrupted", 3, Path("run"), {})
    monkeypatch.setattr(program, "pretrain", lambda config: interrupted)
    assert jepa("pretrain", config_file).code == 0
    monkeypatch.setenv("JEPA_JOB", "7")
    done = jepa("pretrain", config_file, "--json")
    assert (done.code, json.loads(done.stdout)["step"]) == (75, 3)


def test_so_does_one_that_ends_with_an_error_of_that_kind(
    jepa: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jepa.programs import pretrain as program

    def stop(config: PretrainConfig) -> None:
        raise InterruptError("SIGTERM: features of 3 of 9 entries are written")

    monkeypatch.setattr(program, "pretrain", stop)
    assert jepa("pretrain", config_file).code == 1
    monkeypatch.setenv("JEPA_JOB", "7")
    assert jepa("pretrain", config_file).code == 75


def test_watch_prints_a_frame_or_a_line_of_json(jepa: Run, tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "a") as log:
        log.write(20, {"loss": 0.5, "data_wait": 0.6, "seconds": 1.0})
    shown = jepa("watch", tmp_path / "a", "--once")
    assert (shown.code, "60% of the time is waiting for data" in shown.stdout) == (0, True)
    (run,) = json.loads(jepa("watch", tmp_path / "a", "--json").stdout)["runs"]
    assert (run["step"], run["last"]["loss"], len(run["warnings"])) == (20, 0.5, 1)
    assert jepa("watch", tmp_path / "b").code == 1
