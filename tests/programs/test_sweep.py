"""Sweeps: which runs they are, that they run one after another, and what their table says."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from jepa.config.load import dump, load_config
from jepa.config.schema import PretrainConfig
from jepa.errors import ConfigError
from jepa.programs import sweep as program
from jepa.programs.submit import Work
from jepa.programs.sweep import Sweep, final_numbers, plan_sweep, render, run_in_turn, run_work, table_rows
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.terminal import table_console
from tests.runtime.job_processes import stop_all, wait_for, write_verb

Build = Callable[..., PretrainConfig]


@pytest.fixture
def options(run_config: Build, tmp_path: Path) -> dict:
    path = tmp_path / "tiny.yaml"
    path.write_text(dump(run_config()))
    return {"config": str(path), "overrides": ["seed=3"], "run_dir": tmp_path / "s", "as_json": False}


def counting(tmp_path: Path, name: str, mode: str = "counting", goal: int = 2) -> Work:
    """A verb that counts, as a run of a sweep."""
    return Work(mode, tmp_path / name, (str(goal),), name=name)


def counting_sweep(tmp_path: Path, *works: Work) -> Sweep:
    return Sweep(tmp_path / "s", tuple((("mode", work.name),) for work in works), works)


def test_every_combination_is_a_run_with_its_own_config_and_directory(options: dict, tmp_path: Path) -> None:
    sweep = plan_sweep("pretrain", options, ["optim.learning_rate=1e-4, 3e-4", "model.patch=4,8"])
    names = [f"learning_rate={rate}-patch={patch}" for rate in ("1e-4", "3e-4") for patch in (4, 8)]
    assert [work.run_dir for work in sweep.works] == [tmp_path / f"s-{name}" for name in names]
    configs = [load_config(work.freeze()[1]) for work in sweep.works]
    assert [(c.optim.learning_rate, c.model.patch) for c in configs] == [
        (1e-4, 4),
        (1e-4, 8),
        (3e-4, 4),
        (3e-4, 8),
    ]
    assert {c.seed for c in configs} == {3}
    assert [c.run_dir for c in configs] == [str(work.run_dir) for work in sweep.works]


def test_values_may_hold_commas_and_names_hold_nothing_odd(options: dict) -> None:
    sweep = plan_sweep("pretrain", options, ["data.resolution=[16,16],[32, 16],16"])
    assert [settings for (settings,) in sweep.settings] == [
        ("data.resolution", "[16,16]"),
        ("data.resolution", "[32, 16]"),
        ("data.resolution", "16"),
    ]
    assert [work.name for work in sweep.works] == [
        "resolution=_16_16_",
        "resolution=_32_16_",
        "resolution=16",
    ]


def test_keys_of_the_same_last_word_are_named_in_full(options: dict) -> None:
    sweep = plan_sweep(
        "pretrain", options, ["optim.steps=4", "checkpoint.every_steps=1", "log.every_steps=2"]
    )
    assert sweep.works[0].name == "optim.steps=4-checkpoint.every_steps=1-log.every_steps=2"


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["seed"], r"--sweep 'seed': is not KEY=V1,V2"),
        (["seed=1,,2"], "is not KEY=V1,V2"),
        (["=1"], "is not KEY=V1,V2"),
        (["seed=1", "seed=2"], "--sweep seed: is given twice"),
        (["run_dir=a,b"], "--sweep run_dir: every run"),
        (["seed=1,x"], "^seed=x: seed: expected"),
        (["optim.steps=0"], "optim.steps"),
    ],
)
def test_a_wrong_sweep_is_answered_before_anything_runs(
    options: dict, texts: list, match: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=match):
        plan_sweep("pretrain", options, texts)
    assert not list(tmp_path.glob("s*"))


def test_runs_follow_each_other_and_one_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write_verb(tmp_path / "cwd"))
    works = [counting(tmp_path, "a"), counting(tmp_path, "b", "failing", 4), counting(tmp_path, "c", goal=6)]
    rows = run_in_turn(counting_sweep(tmp_path, *works))
    assert [row.status for row in rows] == ["done", "failed", "done"]
    out, err = capfd.readouterr()
    assert (out, err.count("a result")) == ("", 3)  # stdout is for the table, or for a line of JSON
    steps = [json.loads(line) for line in Path("steps-0.jsonl").read_text().splitlines()]
    assert len({step["pid"] for step in steps}) == 3
    listed = json.loads((tmp_path / "s" / "sweep.json").read_text())["runs"]
    assert [one["status"] for one in listed] == ["done", "failed", "done"]
    again = run_in_turn(counting_sweep(tmp_path, *works))
    assert [row.status for row in again] == ["done", "failed", "done"]
    starts = [json.loads(next(work.jobs_dir.glob("*_state.json")).read_text())["starts"] for work in works]
    assert starts == [1, 2, 1]  # what was done is not done again


def test_a_signal_ends_the_run_with_what_it_has_and_begins_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_verb(tmp_path / "cwd"))

    def interrupted(work: Work, interrupts: Interrupts) -> str:
        """Send this process the signal once the run has begun."""
        import os
        import threading

        def send() -> None:
            wait_for(lambda: Path("steps-0.jsonl").exists())
            stop_all(signal.SIGTERM, os.getpid())

        threading.Thread(target=send).start()
        return run_work(work, interrupts)

    monkeypatch.setattr(program, "run_work", interrupted)
    rows = run_in_turn(counting_sweep(tmp_path, counting(tmp_path, "a", goal=400), counting(tmp_path, "b")))
    assert [row.status for row in rows] == ["interrupted", "not begun"]


def test_the_table_shows_settings_and_final_numbers(tmp_path: Path) -> None:
    works = []
    for name, loss in (("a", 0.25), ("b", float("nan"))):
        folder = tmp_path / name
        folder.mkdir()
        row = {
            "name": "pretrained",
            "headline": True,
            "head": "linear",
            "measures": {"accuracy": [{"value": 0.5}]},
        }
        chance = row | {"name": "chance"}
        probe = {"task": "motion", "metric": "accuracy", "rows": [row, chance]}
        (folder / "summary.json").write_text(json.dumps({"probes": [probe], "last": {"loss": str(loss)}}))
        works.append(counting(tmp_path, name))
    rows = table_rows(counting_sweep(tmp_path, *works), ["done", "done"])
    assert rows[0].numbers == {"motion linear accuracy": 0.5, "loss": 0.25}
    assert rows[1].to_dict()["numbers"]["loss"] == "nan"
    console = table_console()
    with console.capture() as captured:
        console.print(render(rows))
    shown = captured.get()
    assert all(text in shown for text in ("mode", "motion linear accuracy", "loss", ".500", ".250", "nan"))
    assert final_numbers(tmp_path / "nothing") == {}
