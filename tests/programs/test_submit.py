"""What is submitted, and that a job which is preempted ends as an unbroken run does."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from jepa.config.envs import CollectConfig
from jepa.config.load import dump, load_config
from jepa.config.plan import PlanConfig
from jepa.config.probe import ProbeConfig
from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.errors import ConfigError
from jepa.programs.launch import launch
from jepa.programs.pretrain import pretrain
from jepa.programs.submit import WORKS, option_words, work_of
from jepa.programs.sweep import plan_sweep
from jepa.runtime.checkpoint import list_checkpoints, load_checkpoint
from jepa.runtime.job_list import JobRecord
from jepa.runtime.jobs import JobNote
from jepa.runtime.metrics import read_metrics
from jepa.runtime.slurm import Resources
from tests.policy.source import ROOT
from tests.runtime.conftest import own_list, slurm  # noqa: F401 - fixtures
from tests.runtime.fake_slurm import FakeSlurm
from tests.runtime.job_processes import wait_for

Build = Callable[..., PretrainConfig]


@pytest.fixture
def config_file(run_config: Build, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(dump(run_config()))
    return path


def options(config: Path, **changes: object) -> dict:
    """What the verb is given by the command line."""
    return {"config": str(config), "overrides": None, "run_dir": None, "as_json": False} | changes


def test_the_config_is_resolved_now_and_a_later_edit_changes_nothing(
    config_file: Path, tmp_path: Path
) -> None:
    given = options(config_file, overrides=["seed=5", "optim.learning_rate=1e-4"], run_dir=tmp_path / "there")
    work = work_of("pretrain", given)
    verb, path, *rest = work.freeze()
    config_file.write_text("seed: nothing of this\n")
    assert (verb, rest, work.run_dir) == ("pretrain", [], tmp_path / "there")
    written = load_config(path)
    assert (written.seed, written.optim.learning_rate, written.run_dir) == (5, 1e-4, str(tmp_path / "there"))
    assert Path(path).is_relative_to(tmp_path / "there" / "jobs")


def test_another_config_is_another_file(config_file: Path) -> None:
    """A job that waits is not changed by the next one that is submitted into its run directory."""
    first = work_of("pretrain", options(config_file)).freeze()
    assert work_of("pretrain", options(config_file)).freeze() == first
    assert work_of("pretrain", options(config_file, overrides=["seed=1"])).freeze() != first


def test_a_wrong_config_is_refused_before_it_is_submitted(config_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"optim.lr: unknown key[\s\S]*seed"):
        launch(
            "pretrain", options(config_file, overrides=["optim.lr=1", "seed=x"]), resources=Resources("gpu")
        )


@pytest.mark.parametrize(
    ("verb", "name", "schema", "extra"),
    [
        ("world-model", "configs/world-model/*.yaml", WorldModelConfig, {}),
        ("plan", "configs/plan/*.yaml", PlanConfig, {"model": "runs/my-model"}),
    ],
)
def test_verbs_with_a_yaml(verb: str, name: str, schema: type, extra: dict, tmp_path: Path) -> None:
    shipped = sorted(ROOT.glob(name))[0]
    work = work_of(verb, options(shipped, run_dir=tmp_path / "run", **extra))
    _, path, *rest = work.freeze()
    expected = {"run_dir": str(tmp_path / "run"), **extra}
    assert load_config(path, schema=schema) == load_config(
        shipped, [f"{key}={value}" for key, value in expected.items()], schema=schema
    )
    assert rest == []


def test_a_probe_of_options_alone_becomes_a_yaml(videos: Path, tmp_path: Path) -> None:
    given = {
        "config": None,
        "model": "timm:x",
        "train": str(videos / "kinds.csv"),
        "test": str(videos / "kinds.csv"),
    }
    given |= {
        "head": ["linear", "knn"],
        "run_dir": tmp_path / "p",
        "overrides": ["seeds=[0,1]"],
        "as_json": False,
    }
    _, path, *rest = work_of("probe", given).freeze()
    config = load_config(path, schema=ProbeConfig)
    assert ([head.kind for head in config.heads], config.seeds, config.model) == (
        ["linear", "knn"],
        (0, 1),
        "timm:x",
    )
    assert rest == []


def test_a_benchmark_is_copied_and_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = {"name": "synthetic-motion", "model": "runs/m", "data": None, "run_dir": tmp_path / "e"}
    given |= {"overrides": ["probe.seeds=[0,1,2]", "device=cpu"], "as_json": True}
    verb, path, *rest = work_of("eval", given).freeze()
    assert (verb, Path(path).name) == ("eval", "synthetic-motion.yaml")
    assert rest == ["--model", "runs/m", "--run-dir", str(tmp_path / "e"), "--set", "device=cpu"]
    assert yaml.safe_load(Path(path).read_text())["probe"]["seeds"] == [0, 1, 2]


def test_embed_has_options_and_keeps_its_folder_free(tmp_path: Path) -> None:
    given = {"model": "runs/m", "source": "clips.csv", "out": tmp_path / "f", "split": None, "tokens": True}
    work = work_of("embed", given | {"overrides": ["clips.workers=4"], "as_json": False})
    assert work.freeze() == (
        *(
            "embed",
            "runs/m",
            "clips.csv",
            "--out",
            str(tmp_path / "f"),
            "--tokens",
            "--set",
            "clips.workers=4",
        ),
    )
    assert work.jobs_dir == Path(f"{tmp_path / 'f'}-jobs")


def test_a_recording_becomes_a_yaml_beside_its_folder(tmp_path: Path) -> None:
    given = {"env": "two-room", "out": tmp_path / "rooms", "episodes": 7, "policy": None}
    work = work_of("data collect", given | {"overrides": ["env.size=16"], "as_json": False})
    assert work.jobs_dir == Path(f"{tmp_path / 'rooms'}-jobs")
    *verb, path = work.freeze()
    assert verb == ["data", "collect"] and Path(path).name == "two-room.yaml"
    config = load_config(path, schema=CollectConfig)
    assert (config.path, config.episodes, config.env.size) == (str(tmp_path / "rooms"), 7, 16)


def test_packing_has_options_alone(tmp_path: Path) -> None:
    given = {"sources": ["a.csv", "b"], "out": tmp_path / "s", "gop": 4, "copy": False, "as_json": False}
    words = ("data", "pack", "a.csv", "b", "--out", str(tmp_path / "s"), "--gop", "4")
    assert work_of("data pack", given).freeze() == words
    with pytest.raises(ConfigError, match="jepa data pack has no config whose settings could be swept"):
        plan_sweep("data pack", given, ["gop=1,2"])


def test_options_become_words() -> None:
    given = {
        "a_b": 3,
        "flag": True,
        "off": False,
        "none": None,
        "many": ["x", "y"],
        "as_json": True,
        "left": 1,
    }
    assert option_words(given, but=("left",)) == ("--a-b", "3", "--flag", "--many", "x", "--many", "y")


def test_every_verb_that_can_be_launched_can_be_submitted() -> None:
    import typer

    from jepa.cli import app

    verbs = dict(typer.main.get_command(app).commands)
    verbs |= {f"data {name}": verb for name, verb in verbs["data"].commands.items()}
    launchable = {name for name, verb in verbs.items() if "slurm" in {one.name for one in verb.params}}
    assert launchable == set(WORKS)


def launched(config: PretrainConfig, tmp_path: Path, *, more: dict | None = None) -> tuple[JobRecord, ...]:
    """Submit a run to this machine, as the command line does."""
    path = tmp_path / "run.yaml"
    path.write_text(dump(config))
    resources = Resources("local", minutes=60, more=more or {})
    return launch("pretrain", options(path), resources=resources, follow=False).records


def note_of(record: JobRecord) -> dict:
    return JobNote(Path(record.folder), record.id).read()


def task_of(record: JobRecord) -> int:
    """The process that submitit started for the only task of a local job."""
    found = subprocess.run(
        ["pgrep", "-P", record.id], capture_output=True, text=True, check=False
    ).stdout.split()
    return int(found[0]) if found else 0


def same_end(one: str | Path, two: str | Path) -> bool:
    """Whether two runs logged the same losses and ended with the same weights, bit for bit."""
    logs = [[line["loss"] for line in read_metrics(Path(run) / "metrics.jsonl")] for run in (one, two)]
    a, b = (load_checkpoint(list_checkpoints(Path(run))[-1][1])["objective"] for run in (one, two))
    return logs[0] == logs[1] and all(torch.equal(a[name], b[name]) for name in b)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before the first step", "in the middle", "while finishing"])
def test_a_job_that_is_preempted_ends_as_an_unbroken_run(
    run_config: Build, videos: Path, tmp_path: Path, moment: str
) -> None:
    """Submitted to submitit's local executor, preempted by a real signal, requeued by submitit, and finished."""
    source = {"kind": "csv", "path": str(videos / "motion.csv")}
    shared = {
        "optim": {"steps": 60},
        "threads": 1,
        "probes": [{"name": "motion", "train": source, "test": source}],
    }
    unbroken = run_config(run_dir=str(tmp_path / "unbroken"), **shared)
    pretrain(unbroken)
    (record,) = launched(run_config(run_dir=str(tmp_path / "broken"), **shared), tmp_path)
    log = Path(record.log)
    sign = {
        "before the first step": "Loading pickle",
        "in the middle": "step 20/",
        "while finishing": "probing",
    }[moment]
    wait_for(lambda: log.exists() and sign in log.read_text() and note_of(record)["state"] == "running", 120)
    os.kill(task_of(record), signal.SIGUSR2)
    wait_for(lambda: note_of(record)["state"] in ("done", "failed"), 180)
    assert note_of(record) == {"state": "done", "exit_code": 0, "starts": 2}, log.read_text()
    assert f"Requeued job {record.id}" in log.read_text()
    assert same_end(tmp_path / "broken", tmp_path / "unbroken")
    assert (tmp_path / "broken" / "report.html").exists()


@pytest.mark.slow
def test_a_job_of_two_processes_that_is_preempted_ends_as_an_unbroken_one(
    run_config: Build, tmp_path: Path
) -> None:
    """Both train together, stop after the same step, and are requeued by the first."""
    ends = []
    for name in ("unbroken", "broken"):
        config = run_config(run_dir=str(tmp_path / name), optim={"steps": 80}, threads=1)
        (record,) = launched(config, tmp_path, more={"ntasks_per_node": 2})
        log = Path(record.log)
        if name == "broken":
            wait_for(lambda log=log: log.exists() and "step 20/" in log.read_text(), 120)
            os.kill(task_of(record), signal.SIGUSR2)
        wait_for(lambda record=record: note_of(record)["state"] in ("done", "failed"), 180)
        ends.append((note_of(record)["state"], note_of(record)["starts"]))
        assert (tmp_path / name / "metrics-rank1.jsonl").exists()
    assert ends == [("done", 1), ("done", 2)]
    assert same_end(tmp_path / "broken", tmp_path / "unbroken")


@pytest.mark.slow
def test_a_job_that_runs_into_its_time_limit_again_and_again_ends_as_an_unbroken_run(
    run_config: Build, tmp_path: Path
) -> None:
    """Submitit's controller sends the signal by itself, some seconds before the time that was asked for is over."""
    unbroken = run_config(run_dir=str(tmp_path / "unbroken"), threads=1, optim={"steps": 1000})
    pretrain(unbroken)
    broken = run_config(run_dir=str(tmp_path / "broken"), threads=1, optim={"steps": 1000})
    path = tmp_path / "run.yaml"
    path.write_text(dump(broken))
    resources = Resources("local", minutes=0.4, more={"signal_delay_s": 12})
    done = launch("pretrain", options(path), resources=resources)  # and follows it
    assert done.states == ("done",)
    assert note_of(done.records[0])["starts"] >= 2
    assert same_end(tmp_path / "broken", tmp_path / "unbroken")


@pytest.mark.slow
def test_a_sweep_becomes_a_job_array_with_a_table(
    slurm: FakeSlurm,  # noqa: F811
    run_config: Build,
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(dump(run_config(run_dir=str(tmp_path / "sweep"))))
    done = launch(
        "pretrain",
        options(path),
        sweep=["optim.learning_rate=1e-3,1e-4"],
        resources=Resources("gpu", minutes=60),
    )
    assert "#SBATCH --array=0-1%2" in slurm.script("4242")
    assert done.well and done.states == ("done", "done")
    assert [row.settings for row in done.rows] == [
        (("optim.learning_rate", "1e-3"),),
        (("optim.learning_rate", "1e-4"),),
    ]
    for row in done.rows:
        assert row.numbers["loss"] == read_metrics(row.run_dir / "metrics.jsonl")[-1]["loss"]
