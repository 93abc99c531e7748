"""The end of a run: probe the frozen encoder beside its baselines, write summary.json and report.html."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor

import jepa
from jepa.config.schema import PretrainConfig
from jepa.data.evaluation import labelled_clips
from jepa.data.inspect import draw_sheet
from jepa.data.sources import Source
from jepa.preprocess import denormalise
from jepa.probes.health import collapse_warning
from jepa.probes.maps import draw_maps, pca_maps
from jepa.probes.table import ProbeTable
from jepa.probes.verdict import verdicts
from jepa.programs.evaluate import probe_tables
from jepa.programs.pretrain_step import PretrainState
from jepa.programs.report import write_report
from jepa.runtime.metrics import read_metrics
from jepa.runtime.run_dir import RunDir, commit
from jepa.runtime.terminal import Progress

SHEET_CLIPS, MAP_CLIPS = 6, 4


def finish(
    state: PretrainState, sources: tuple[Source, ...], run: RunDir, progress: Progress
) -> dict[str, Any]:
    """Measure what the run learned and write it down; return the contents of summary.json."""
    config = state.config
    state.objective.eval()
    encoder = state.objective.probed
    metrics = read_metrics(run.metrics)
    if config.probes:
        progress.note("probing the frozen encoder")
    tables = probe_tables(config, encoder, device=state.device)
    summary = summarise(state, metrics, tables)
    run.write_summary(summary)
    warning = collapse_warning(last_health(metrics), width=encoder.dim)
    sheet, maps = pictures(example_clips(sources[0], config), state)
    write_report(
        run,
        summary,
        tables,
        pictures={"contact_sheet": sheet, "feature_maps": maps},
        notes=[warning] if warning else [],
    )
    for table in tables:
        progress.console.print(table.render())
        for verdict in verdicts(table):
            progress.note(f"{verdict.task}: {verdict.text}")
    progress.note(f"report: {run.report}")
    return summary


def pictures(clips: Tensor, state: PretrainState) -> tuple[Image.Image | None, Image.Image | None]:
    """Return the contact sheet and the feature maps of ``clips``; neither when every example file was bad."""
    if len(clips) == 0:
        return None, None
    data, encoder = state.config.data, state.objective.probed
    frames = denormalise(clips, mean=data.mean, std=data.std)  # (B, T, H, W, 3) uint8
    with torch.inference_mode():
        tokens = encoder(clips[:MAP_CLIPS].to(state.device))
    maps = draw_maps(frames[:MAP_CLIPS], pca_maps(tokens, encoder.grid(clips.shape)))
    return draw_sheet(frames), maps


def summarise(
    state: PretrainState, metrics: list[dict[str, Any]], tables: list[ProbeTable]
) -> dict[str, Any]:
    """Collect the final numbers of a run."""
    return {
        "steps": state.step,
        "clips": state.step * state.config.data.batch_size,
        "train_s": round(sum(line["seconds"] for line in metrics), 1),
        "device": str(state.device),
        "version": jepa.__version__,
        "commit": commit(),
        "seed": state.config.seed,
        "last": metrics[-1] if metrics else {},
        "probes": [table.to_dict() for table in tables],
        "verdicts": {verdict.task: verdict.text for table in tables for verdict in verdicts(table)},
    }


def last_health(metrics: list[dict[str, Any]]) -> dict[str, float]:
    """Return the last measured value of every signal."""
    return {name: value for line in metrics for name, value in line.items() if value is not None}


def example_clips(source: Source, config: PretrainConfig) -> Tensor:
    """Return a few clips as the encoder sees them, (B, C, T, H, W), spread over the source."""
    step = max(1, len(source.entries) // SHEET_CLIPS)
    few = source.entries[::step][:SHEET_CLIPS]
    data = config.data.model_copy(update={"workers": 0})
    batches = labelled_clips(Source(source.name, source.modality, few, source.classes), data)
    return torch.cat([batch.clip for batch in batches])
