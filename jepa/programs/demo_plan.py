"""`jepa demo --plan`: episodes collected, a world model trained on them, and a planner that reaches goals with it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa.config.envs import CollectConfig
from jepa.config.load import load_config
from jepa.config.plan import PlanConfig
from jepa.config.section import Section
from jepa.config.world_model import WorldModelConfig
from jepa.errors import ConfigError
from jepa.runtime.terminal import Progress, duration

PARTS: Mapping[str, type[Section]] = {
    "collect": CollectConfig,
    "world_model": WorldModelConfig,
    "plan": PlanConfig,
}


@dataclass(frozen=True)
class PlanDemoResult:
    """What the demo ended with."""

    status: str
    """done or interrupted."""
    world_model: Path
    plan: Path | None
    """The run directory of the evaluation; None when interrupted."""
    summary: dict[str, Any]
    """The contents of the evaluation's summary.json; empty when interrupted."""


def demo_configs(
    directory: Path, *, seed: int = 0, overrides: Sequence[str] = ()
) -> tuple[CollectConfig, WorldModelConfig, PlanConfig]:
    """Return the packaged recipes with their files under ``directory``.

    ``overrides`` start with the name of a recipe: collect, world_model or plan. Raises ConfigError for others.
    """
    world_model = directory / f"world-model-seed{seed}"
    places = {
        "collect": {"path": directory / "episodes"},
        "world_model": {"run_dir": world_model, "data.sources.0.path": directory / "episodes"},
        "plan": {"run_dir": directory / f"plan-seed{seed}", "model": world_model},
    }
    said: dict[str, list[str]] = {
        # Quoted, so that YAML takes a folder called 1 or a: b for a name.
        part: [f"{key}={json.dumps(str(path))}" for key, path in paths.items()]
        for part, paths in places.items()
    }
    said["world_model"].append(f"seed={seed}")
    said["plan"].append(f"seeds=[{seed}]")
    for override in overrides:
        part, dot, rest = override.partition(".")
        if part not in PARTS or not dot:
            raise ConfigError(f"override {override!r} must start with one of {', '.join(PARTS)} and a dot")
        said[part].append(rest)
    here = Path(__file__).parent
    return (
        load_config(here / "demo_collect.yaml", said["collect"], schema=CollectConfig),
        load_config(here / "demo_world_model.yaml", said["world_model"], schema=WorldModelConfig),
        load_config(here / "demo_plan.yaml", said["plan"], schema=PlanConfig),
    )


def demo_plan(directory: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> PlanDemoResult:
    """Collect, train and plan; what was interrupted continues. The success table and the report are the outcome."""
    collecting, training, planning = demo_configs(directory, seed=seed, overrides=overrides)
    # A wrong override is answered before torch is imported.
    from jepa.programs.collect import collect
    from jepa.programs.plan import plan
    from jepa.programs.world_model import train_world_model

    progress, began = Progress(3), time.monotonic()
    progress.note(f"episodes, runs and reports go to {directory}; episodes are recorded once")
    if collect(collecting).status != "done":
        return PlanDemoResult("interrupted", Path(training.run_dir), None, {})
    trained = train_world_model(training)
    if trained.status != "done":
        return PlanDemoResult("interrupted", trained.run_dir, None, {})
    found = plan(planning)
    progress.note(f"collected, trained and planned in {duration(time.monotonic() - began)}")
    return PlanDemoResult("done", trained.run_dir, found.run_dir, found.summary)
