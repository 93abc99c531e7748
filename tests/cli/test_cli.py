"""The command line as a user meets it: by exit code, stdout and stderr."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jepa import __version__
from jepa.config.load import dump
from jepa.config.schema import PretrainConfig
from tests.cli.conftest import Run
from tests.programs.conftest import run_config, videos  # noqa: F401 - fixtures

Build = Callable[..., PretrainConfig]


@pytest.fixture
def config_file(run_config: Build, tmp_path: Path) -> Path:  # noqa: F811
    path = tmp_path / "tiny.yaml"
    path.write_text(dump(run_config(log={"every_steps": 4, "tensorboard": False})))
    return path


def test_pretrain_prints_one_json_line_and_logs_to_stderr(
    jepa: Run, config_file: Path, tmp_path: Path
) -> None:
    done = jepa(
        "pretrain", config_file, "--set", "optim.steps=4", "--run-dir", tmp_path / "elsewhere", "--json"
    )
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["step"], result["run_dir"]) == ("done", 4, str(tmp_path / "elsewhere"))
    assert result["summary"]["steps"] == 4
    assert "step 4/4" in done.stderr


def test_a_wrong_config_ends_with_2_and_every_mistake(jepa: Run, config_file: Path) -> None:
    wrong = ["--set", "optim.lr=1", "--set", "data.fps=4", "--set", "dtype=fp16"]
    done = jepa("pretrain", config_file, *wrong)
    assert done.code == 2
    assert done.stdout == ""
    for part in ("optim.lr", "dtype"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_run_ends_with_1_and_wrong_usage_with_2(
    jepa: Run, config_file: Path, tmp_path: Path
) -> None:
    missing = jepa("pretrain", config_file, "--set", f"data.sources.0.path={tmp_path / 'none.csv'}")
    assert missing.code == 1
    assert missing.stderr.startswith("error: ")
    assert "Traceback" not in missing.stderr
    assert jepa("pretrain").code == 2
    assert jepa("pretrain", config_file, "--no-such-flag").code == 2
    assert jepa("juggle").code == 2


def test_check_names_each_thing_it_looked_at(jepa: Run, config_file: Path) -> None:
    done = jepa("check", config_file, "--json")
    assert done.code == 0, done.stdout
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert list(findings) == [
        "packages",
        "torch and torchvision",
        "decoder",
        "device",
        "sources",
        "batch",
        "step",
    ]
    assert not any(finding["failed"] for finding in findings.values())
    assert "(4, 3, 4, 16, 16)" in findings["batch"]["text"]
    assert "loss" in findings["step"]["text"]


def test_check_fails_when_the_data_is_not_there(jepa: Run, config_file: Path) -> None:
    done = jepa("check", config_file, "--set", "data.sources.0.path=none.csv")
    assert done.code == 1
    assert "FAILED sources: none.csv" in done.stdout


def test_show_works_on_a_config_and_on_a_run(jepa: Run, config_file: Path, tmp_path: Path) -> None:
    shown = jepa("show", config_file)
    assert shown.code == 0, shown.stderr
    for part in ("frames_per_clip: 4", "parameters", "FLOPs", "8 tokens"):
        assert part in shown.stdout
    jepa("pretrain", config_file, "--set", "optim.steps=4", "--run-dir", tmp_path / "r")
    run = jepa("show", tmp_path / "r", "--json")
    assert json.loads(run.stdout)["finished_step"] == 4


def test_data_synth_and_inspect(jepa: Run, tmp_path: Path) -> None:
    made = jepa(
        "data", "synth", tmp_path / "set", "--train", 6, "--test", 3, "--frames", 8, "--size", 32, "--json"
    )
    assert made.code == 0, made.stderr
    assert json.loads(made.stdout)["lists"] == [
        "test-appearance.csv",
        "test-motion.csv",
        "test-next.csv",
        "train-appearance.csv",
        "train-motion.csv",
        "train-next.csv",
    ]
    (tmp_path / "set" / "train" / "cut.mp4").write_bytes(
        (tmp_path / "set" / "train" / "000000.mp4").read_bytes()[:300]
    )
    seen = jepa("data", "inspect", tmp_path / "set" / "train", "--sheet", tmp_path / "sheet.png", "--json")
    assert seen.code == 0, seen.stderr
    summary = json.loads(seen.stdout)
    assert (summary["files"], summary["frames"], summary["fps"]) == (7, 48, {"8.0": 6})
    assert summary["bad"][0]["path"].endswith("cut.mp4")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    again = jepa("data", "synth", tmp_path / "set")
    assert again.code == 1
    assert "is not an empty folder" in again.stderr


def test_data_pack_writes_shards_that_can_be_inspected(jepa: Run, tmp_path: Path) -> None:
    jepa("data", "synth", tmp_path / "set", "--train", 6, "--test", 3, "--frames", 8, "--size", 32, "--json")
    listed = min((tmp_path / "set").glob("*.csv"))
    command = ("data", "pack", listed, "--out", tmp_path / "shards", "--workers", 0)
    done = jepa(*command, "--short-side", 16, "--json")
    packed = json.loads(done.stdout)
    assert (packed["status"], packed["shards"], packed["bad"]) == ("done", 1, 0)
    again = jepa(*command, "--short-side", 16)
    assert f"done: {packed['samples']} clips in 1 shards" in again.stdout
    seen = jepa("data", "inspect", tmp_path / "shards", "--sheet", tmp_path / "sheet.png", "--json")
    summary = json.loads(seen.stdout)
    assert summary["entries"] == packed["samples"] and summary["height_x_width"] == {
        "16x16": packed["samples"]
    }
    assert sum(summary["classes"].values()) == packed["samples"]
    refused = jepa(*command, "--crf", 30)
    assert refused.code == 1 and "begun with another crf, short_side" in refused.stderr


def test_version_and_help(jepa: Run) -> None:
    assert jepa("--version").stdout.strip() == __version__
    listed = jepa("--help").stdout
    assert all(verb in listed for verb in ("pretrain", "demo", "check", "show", "data"))


def test_the_module_is_the_command_and_its_exit_code_the_processes(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("run_dir: [1\n")
    command = [sys.executable, "-m", "jepa", "pretrain", str(tmp_path / "wrong.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_message(jepa: Run, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "metrics.jsonl")

    monkeypatch.setattr("jepa.programs.check.check", full)
    done = jepa("check")
    assert done.code == 1
    assert "'metrics.jsonl'; what was finished is whole. Make room, then run the same command" in done.stderr
