"""The demo of planning: recipes that fit each other, and one run of seconds through all three programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jepa.errors import ConfigError
from jepa.programs.demo_plan import demo_configs, demo_plan

SMALL = [
    *("collect.episodes=6", "collect.steps=20", "collect.env.size=16", "collect.workers=0"),
    *("world_model.data.resolution=16", "world_model.data.batch_size=4", "world_model.optim.steps=2"),
    *("world_model.optim.warmup_steps=0", "world_model.value.steps=2", "world_model.frames.width=8"),
    *("world_model.data.window=4", "world_model.objective.rollout_steps=2", "world_model.horizon=2"),
    *("world_model.data.test_fraction=0.4", "world_model.log.tensorboard=false"),
    *("plan.env.size=16", "plan.goals.steps=2", "plan.episodes=2", "plan.videos=1", "plan.cloning_steps=2"),
]


def test_the_recipes_fit_each_other():
    collecting, training, planning = demo_configs(Path("a: b"), seed=3)
    assert training.data.sources[0].path == collecting.path == str(Path("a: b/episodes"))
    assert planning.model == training.run_dir
    assert (training.seed, planning.seeds, collecting.seed) == (3, (3,), 0)
    assert planning.env == collecting.env and collecting.env.size == training.data.resolution
    assert planning.episodes >= 200 and planning.baselines == ("random", "behaviour cloning", "simulator")


def test_overrides_name_their_recipe():
    _, training, planning = demo_configs(
        Path("x"), overrides=["world_model.optim.steps=200", "plan.episodes=7"]
    )
    assert (training.optim.steps, planning.episodes) == (200, 7)
    with pytest.raises(
        ConfigError, match="'optim.steps=3' must start with one of collect, world_model, plan"
    ):
        demo_configs(Path("x"), overrides=["optim.steps=3"])


def test_it_runs_and_runs_again(tmp_path, capsys):
    result = demo_plan(tmp_path, overrides=SMALL)
    assert result.status == "done"
    assert (result.world_model / "report.html").exists() and (result.plan / "report.html").exists()
    rows = result.summary["rows"]
    assert {"CEM, learned distance", "behaviour cloning", "simulator"} <= set(rows)
    again = demo_plan(tmp_path, overrides=SMALL)
    assert again.summary["rows"]["random"]["distances"] == rows["random"]["distances"]
    assert "step 1/2" not in capsys.readouterr().err.partition("collected, trained and planned")[2]


MISTAKES = {
    "demo": (["demo", "--plan", "--set", "plan.planers=1"], "planers: unknown key"),
    "demo without a recipe": (["demo", "--plan", "--set", "seed=1"], "must start with one of collect"),
    "plan": (["plan", "two-room.yaml", "--set", "goals.stepz=3"], "goals.stepz: unknown key"),
    "world-model": (["world-model", "two-room.yaml", "--set", "data.windw=3"], "data.windw: unknown key"),
    "data collect": (["data", "collect", "two-room", "--set", "stepz=3"], "stepz: unknown key"),
}
FRESH = """
import sys
from jepa.cli import main
try:
    main()
finally:
    sys.stderr.write("\\nheavy: " + " ".join(sorted({"torch", "gymnasium", "av"} & set(sys.modules))))
"""


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_key_is_answered_before_torch_is_imported(name, tmp_path):
    arguments, message = MISTAKES[name]
    root = Path(__file__).parents[2]
    if arguments[1] == "two-room.yaml":
        arguments = [arguments[0], str(root / "configs" / arguments[0] / arguments[1]), *arguments[2:]]
    command = [sys.executable, "-c", FRESH, *arguments]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120, check=False
    )
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert done.stderr.rpartition("heavy: ")[2] == "" and done.stdout == "" and not list(tmp_path.iterdir())


def test_the_verbs_answer_in_json(tmp_path, monkeypatch, capsys, world):
    """What a machine reads is one line of stdout; all else goes to stderr."""
    from jepa.cli import main

    (tmp_path / "plan.yaml").write_text(PLAN)
    monkeypatch.setattr(sys, "argv", ["jepa", "plan", str(tmp_path / "plan.yaml"), "--json"])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--model", str(world), "--run-dir", str(tmp_path / "1")])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["run_dir"] == str(tmp_path / "1") and set(found["summary"]["rows"]) == {"one", "random"}
    assert found["summary"]["model"] == str(world)


PLAN = """
run_dir: nowhere
model: nothing
env: {kind: two-room, size: 16}
goals: {kind: drawn, steps: 2}
planners:
  - {name: one, solver: {kind: random, samples: 4}, costs: [{kind: goal}], horizon: 2}
baselines: [random]
episodes: 2
videos: 0
"""
