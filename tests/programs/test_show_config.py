"""`jepa show` of configs and runs of every program."""

import json
from pathlib import Path

import pytest

from jepa.config.plan import PlanConfig
from jepa.config.probe import ProbeConfig
from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.errors import ConfigError
from jepa.programs.show import Shown, show
from jepa.programs.show_config import ShownConfig, schema_of
from tests.policy.source import ROOT

CONFIGS = [
    path for name in ("plan", "world-model") for path in sorted((ROOT / "configs" / name).glob("*.yaml"))
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_config_is_shown(path: Path) -> None:
    shown = show(str(path))
    assert isinstance(shown, ShownConfig)
    assert shown.program == path.parent.name
    assert json.loads(json.dumps(shown.to_dict()))["config"]["run_dir"]
    assert f"jepa {shown.program}" in shown.render()


def test_a_run_of_a_world_model_says_how_far_it_got(world: Path) -> None:
    shown = show(str(world))
    assert isinstance(shown, ShownConfig)
    assert (shown.program, shown.finished_step) == ("world-model", 6)
    assert set(shown.parameters) == {"frames", "dynamics", "value", "inverse"}
    assert shown.facts["checkpoint"] == "step 6 of 6"
    assert shown.facts["summary"] == str(world / "summary.json")
    assert "frames weights" in shown.render()


def test_a_run_of_pretraining_says_how_far_it_got(trained: Path) -> None:
    shown = show(str(trained))
    assert isinstance(shown, Shown)
    assert shown.finished_step == 2
    assert "checkpoint      step 2 of 2" in shown.render()


def test_overrides_change_what_is_shown() -> None:
    shown = show(str(ROOT / "configs/plan/two-room.yaml"), ["episodes=7", "seeds=[0,1]"])
    assert isinstance(shown, ShownConfig)
    assert shown.facts["episodes"] == "7 for each of 2 seeds, 14 for each row"


def test_keys_tell_the_program() -> None:
    assert schema_of({"planners": [], "model": ""}) is PlanConfig
    assert schema_of({"dynamics": {}, "data": {}}) is WorldModelConfig
    assert schema_of({"train": {}, "test": {}}) is ProbeConfig
    assert schema_of({"data": {}}) is PretrainConfig


def test_what_is_neither_a_config_nor_weights_is_answered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such config"):
        show("no-such-config-at-all")
    (tmp_path / "config.yaml").write_text("run_dir: x\ndynamics: {kind: mlp}\nframs: 1\n")
    with pytest.raises(ConfigError, match="frams: unknown key; did you mean 'frames'|frams: unknown key"):
        show(str(tmp_path))
