"""What is known of weights that are handed on: from the run directory they come from, or the export."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jepa.config.exported import Notes, Number
from jepa.config.load import load_config, read_tree
from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.models.formats.base import Source
from jepa.models.formats.exported import Exported, tails
from jepa.programs.run_results import load_results, read_summary
from jepa.runtime.run_dir import RunDir

HORIZONS = (1, 2, 4, 8, 16, 32, 64)  # model steps of the prediction errors that a card lists


def notes_of(source: Source, *, licence: str | None = None) -> Notes:
    """Return what is known of the weights in ``source``; ``licence`` replaces the one that is stated there.

    Of a checkpoint, its run directory is asked. Raises RunError for a run whose files are damaged.
    """
    exported = Exported()
    if source.path.exists() and exported.recognises(source):
        notes = exported.read_config(source).notes
        return notes if licence is None else notes.model_copy(update={"licence": licence})
    run = RunDir(run_root(source.path))
    if not run.config.is_file():
        return Notes(licence=licence)
    config = _config(run)
    summary = read_summary(run.summary) if run.summary.is_file() else {}
    return Notes(
        licence=licence,
        training=_training(config, summary),
        data=tuple(_data(config)),
        protocol=tuple(_protocol(summary)),
        numbers=(*_scores(run), *_errors(summary)),
    )


def run_root(path: Path) -> Path:
    """Return the run directory that a checkpoint lies in; any other path is itself."""
    return path.parent.parent if path.parent.name == "checkpoints" else path


def _config(run: RunDir) -> PretrainConfig | WorldModelConfig:
    """Return what a run was told; only a world model's has dynamics."""
    if "dynamics" in read_tree(run.config):
        return load_config(run.config, schema=WorldModelConfig)
    return load_config(run.config)


def _training(config: PretrainConfig | WorldModelConfig, summary: Mapping[str, Any]) -> str:
    """Say how it was trained."""
    kind: str = config.objective.kind
    if isinstance(config, WorldModelConfig):
        kind = f"{kind} on {config.frames.kind} frames"
    made_by = f", with jepa {summary['version']}, commit {summary['commit']}" if "commit" in summary else ""
    return f"{config.optim.steps:,} steps of {kind}{made_by}"


def _data(config: PretrainConfig | WorldModelConfig) -> Iterator[str]:
    """Name what it was trained on."""
    sources = config.data.sources
    for source, name in zip(sources, tails([_first(source.path) for source in sources]), strict=True):
        yield f"{name} ({source.kind})"


def _first(path: str | tuple[str, ...]) -> str:
    """Return a path, or the first of several that are one source."""
    return path if isinstance(path, str) else path[0]


def _scores(run: RunDir) -> Iterator[Number]:
    """Return what probes measured."""
    if not run.summary.is_file():
        return
    for what, score in load_results(run.root).scores.items():
        if math.isfinite(score.value):
            name = f"{what.task}: {what.features}" + (f", {what.head} head" if what.head else "")
            yield Number(
                what=name,
                measure=what.measure,
                value=score.value,
                low=score.low,
                high=score.high,
                deviation=score.deviation,
            )


def _errors(summary: Mapping[str, Any]) -> Iterator[Number]:
    """Return the prediction errors of a world model at a few horizons."""
    errors = (summary.get("prediction") or {}).get("world_model", ())
    for steps in HORIZONS:
        if steps <= len(errors):
            ahead = f"{steps} model step{'s' if steps > 1 else ''}"
            yield Number(what=f"prediction {ahead} ahead", measure="error", value=errors[steps - 1])


def _protocol(summary: Mapping[str, Any]) -> Iterator[str]:
    """Say how the numbers were measured."""
    for table in summary.get("probes") or ():
        heads = sorted({row["head"] for row in table["rows"] if row.get("head")})
        yield (
            f"{table['task']}: frozen features (pooling: {table['pooling']}), {', '.join(heads) or 'linear'} fitted "
            f"on {table['train_size']:,} entries and scored once on {table['test_size']:,} held-out ones, "
            f"{table['seeds']} seed{'s' if table['seeds'] > 1 else ''}. Beside it: the same encoder before training, "
            "raw pixels, and answers without looking."
        )
    if prediction := summary.get("prediction"):
        yield (
            f"Prediction: squared latent error on {prediction['windows']:,} windows of episodes kept from training, as "
            "a share of the latents' variance: 0 is perfect, the mean frame has about 1."
        )
