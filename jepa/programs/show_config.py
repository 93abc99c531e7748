"""What a config of a program other than pre-training is, and how far its run has got."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa.config.load import dump
from jepa.config.plan import PlanConfig
from jepa.config.probe import ProbeConfig
from jepa.config.schema import PretrainConfig
from jepa.config.section import Section
from jepa.config.world_model import WorldModelConfig
from jepa.models.formats.card import world_model_rows
from jepa.programs.show_weights import show_weights
from jepa.runtime.checkpoint import list_checkpoints
from jepa.runtime.run_dir import RunDir

# The key that only this program's configs have.
PROGRAMS: dict[str, type[Section]] = {
    "planners": PlanConfig,
    "dynamics": WorldModelConfig,
    "train": ProbeConfig,
    "masks": PretrainConfig,
}


@dataclass(frozen=True)
class ShownConfig:
    """A config of a world model, of planning or of probes, and its run."""

    program: str
    config: Section
    facts: Mapping[str, str]
    """What it comes to, in a few lines."""
    parameters: Mapping[str, int]
    """Numbers in the weights of a run's newest checkpoint, by part."""
    finished_step: int | None = None
    """Step of that checkpoint."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "program": self.program,
            "config": self.config.model_dump(mode="json"),
            "facts": dict(self.facts),
            "parameters": dict(self.parameters),
            "finished_step": self.finished_step,
        }

    def render(self) -> str:
        """Return the resolved config, and what it comes to, as text."""
        held = {f"{part} weights": f"{count:,} parameters" for part, count in self.parameters.items()}
        rows = {"program": f"jepa {self.program}", **self.facts, **held}
        width = max(map(len, rows)) + 2
        return "\n".join(
            [dump(self.config).rstrip(), "", *(f"{name:{width}}{value}" for name, value in rows.items())]
        )


def schema_of(tree: Mapping[str, object]) -> type[Section]:
    """Return what a config is of, by its keys; pre-training where nothing else is meant."""
    return next((schema for key, schema in PROGRAMS.items() if key in tree), PretrainConfig)


def show_config(config: Section, run: Path | None) -> ShownConfig:
    """Describe a config of a world model, of planning or of probes, and how far its run directory has got."""
    if isinstance(config, WorldModelConfig):
        return _world_model(config, run)
    if isinstance(config, PlanConfig):
        facts = _plan(config)
        return ShownConfig("plan", config, facts | _finished(run), {})
    assert isinstance(config, ProbeConfig)
    return ShownConfig("probe", config, _finished(run), {})


def _world_model(config: WorldModelConfig, run: Path | None) -> ShownConfig:
    """Describe a world model; the size of its dynamics is only known once it has met its data."""
    facts = world_model_rows(config)
    data = config.data
    facts["window"] = f"{data.window} frames, {(data.window - 1) * data.frame_skip} environment steps"
    facts["training"] = f"{config.optim.steps:,} steps of {data.batch_size:,} windows"
    found = list_checkpoints(run) if run else []
    if not found:
        return ShownConfig(config.program, config, facts | _finished(run), {})
    step, path = found[-1]
    facts["checkpoint"] = f"step {step:,} of {config.optim.steps:,}"
    return ShownConfig(
        config.program, config, facts | _finished(run), show_weights(f"run:{path}").parameters, step
    )


def _plan(config: PlanConfig) -> dict[str, str]:
    """Describe an evaluation of planning."""
    where = "between recorded frames" if config.env is None else config.env.kind
    count = config.episodes * len(config.seeds)
    return {
        "world model": config.model,
        "where": where,
        "goals": config.goals.kind,
        "planners": ", ".join(
            f"{planner.name} (horizon {planner.horizon} model steps)" for planner in config.planners
        ),
        "beside": ", ".join(config.baselines)
        if config.env is not None
        else "a random action, the mean action",
        "episodes": f"{config.episodes:,} for each of {len(config.seeds)} seeds, {count:,} for each row",
    }


def _finished(run: Path | None) -> dict[str, str]:
    """Say whether a run has ended."""
    if run is None:
        return {}
    summary = RunDir(run).summary
    if not summary.is_file():
        return {"summary": "none: the run has not ended"}
    return {"summary": str(summary)}
