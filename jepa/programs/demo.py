"""`jepa demo`: generated mp4 files, a small encoder trained on the CPU, and what it learned."""

from collections.abc import Sequence
from pathlib import Path

from jepa.config.load import load_config
from jepa.config.schema import PretrainConfig
from jepa.programs.pretrain import PretrainResult, pretrain
from jepa.runtime.terminal import Progress

RECIPE = Path(__file__).with_name("demo.yaml")


def demo_config(directory: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Return the packaged recipe with its files under ``directory``; ``overrides`` come last."""
    recipe = load_config(RECIPE)
    places = [f"run_dir={directory / f'run-seed{seed}'}", f"seed={seed}"]
    places += [
        f"data.sources.{i}.path={directory / 'videos' / Path(s.path).name}"
        for i, s in enumerate(recipe.data.sources)
    ]
    for i, task in enumerate(recipe.probes):
        for split in ("train", "test"):
            name = Path(getattr(task, split).path).name
            places.append(f"probes.{i}.{split}.path={directory / 'videos' / name}")
    return load_config(RECIPE, [*places, *overrides])


def demo(directory: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> PretrainResult:
    """Run the recipe; a demo that was interrupted continues. The probe tables and the report are the outcome."""
    config = demo_config(directory, seed=seed, overrides=overrides)
    Progress(config.optim.steps).note(f"videos, run and report go to {directory}; videos are written once")
    return pretrain(config)
