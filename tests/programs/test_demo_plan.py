"""The demo of planning: recipes that fit each other, and one run of seconds through all three programs."""

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
    _, training, planning = demo_configs(Path("x"), overrides=["world_model.optim.steps=200", "plan.episodes=7"])
    assert (training.optim.steps, planning.episodes) == (200, 7)
    with pytest.raises(ConfigError, match="'optim.steps=3' must start with one of collect, world_model, plan"):
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
