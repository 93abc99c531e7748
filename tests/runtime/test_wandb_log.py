"""Weights & Biases through a stand-in for its module: it is reached when asked for, and not otherwise."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jepa.errors import RunError
from jepa.runtime.metrics import MetricsLog


class Wandb:
    """What the real module is asked."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, Any], int]] = []
        self.finished = 0

    def init(self, **settings: Any) -> SimpleNamespace:
        self.started.append(settings)
        log = lambda values, step: self.logged.append((values, step))  # noqa: E731
        return SimpleNamespace(log=log, finish=self._finish)

    def _finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    stub = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    return stub


def test_it_gets_the_numbers_and_the_config(wandb: Wandb, tmp_path: Path) -> None:
    run = tmp_path / "my-run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 3\noptim: {steps: 5}\n")
    with MetricsLog(run, wandb="jepa") as log:
        log.write(20, {"loss": 0.5, "health": None, "note": "text"})
    assert wandb.logged == [({"loss": 0.5}, 20)]
    assert wandb.finished == 1
    (started,) = wandb.started
    assert (started["project"], started["name"], started["dir"]) == ("jepa", "my-run", str(run))
    assert started["config"] == {"seed": 3, "optim": {"steps": 5}}
    assert "mode" not in started, "WANDB_MODE=offline must keep its say"


def test_a_run_that_goes_on_is_the_same_run_and_another_is_not(wandb: Wandb, tmp_path: Path) -> None:
    for folder in ("a", "a", "b"):
        MetricsLog(tmp_path / folder, wandb="jepa").close()
    one, again, other = (started["id"] for started in wandb.started)
    assert one == again != other
    assert {started["resume"] for started in wandb.started} == {"allow"}


def test_unasked_it_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import fails
    with MetricsLog(tmp_path) as log:
        log.write(0, {"loss": 1.0})
    assert not (tmp_path / "wandb-id.txt").exists()
    with pytest.raises(RunError, match=r"wandb cannot be imported.*jepa\[wandb\]"):
        MetricsLog(tmp_path, wandb="jepa")
