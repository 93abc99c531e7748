"""`jepa demo`: generated mp4 files, a small encoder trained on the CPU, and what it learned."""

import json
from collections.abc import Sequence
from pathlib import Path

from jepa.config.load import load_config
from jepa.config.schema import PretrainConfig
from jepa.programs.loop import TrainingResult
from jepa.programs.pretrain import pretrain
from jepa.runtime.terminal import Progress

RECIPE = Path(__file__).with_name("demo.yaml")


def demo_config(directory: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Return the packaged recipe with its files under ``directory``; ``overrides`` come last."""
    recipe = load_config(RECIPE)
    places = {"run_dir": directory / f"run-seed{seed}"}
    for number, source in enumerate(recipe.data.sources):
        places[f"data.sources.{number}.path"] = directory / "videos" / Path(str(source.path)).name
    for number, task in enumerate(recipe.probes):
        places[f"probes.{number}.train.path"] = directory / "videos" / Path(str(task.train.path)).name
        places[f"probes.{number}.test.path"] = directory / "videos" / Path(str(task.test.path)).name
    # Quoted, so that YAML takes a folder called 1 or a: b for a name.
    chosen = [f"{key}={json.dumps(str(path))}" for key, path in places.items()]
    return load_config(RECIPE, [*chosen, f"seed={seed}", *overrides])


def demo(directory: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> TrainingResult:
    """Run the recipe; a demo that was interrupted continues. The probe tables and the report are the outcome."""
    config = demo_config(directory, seed=seed, overrides=overrides)
    Progress(config.optim.steps).note(f"videos, run and report go to {directory}; videos are written once")
    return pretrain(config)
