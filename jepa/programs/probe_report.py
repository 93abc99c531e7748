"""report.html of a probe: the verdict, the table, every head's curves and errors, and the examples it got wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepa.config.load import dump
from jepa.config.probe import ProbeConfig
from jepa.data.inspect import draw_sheet
from jepa.data.truth import truth
from jepa.probes.metrics import headline
from jepa.probes.table import PRETRAINED, RANDOM_INIT, ProbeTable
from jepa.probes.trial import Trial
from jepa.probes.verdict import verdicts
from jepa.programs.evaluate import Probed, Sides, TaskSources
from jepa.programs.feature_clouds import feature_cloud, pooled_features, shown_entries
from jepa.programs.hardest import HEIGHT_PX, RULES, hardest, read_frames
from jepa.programs.page import facts_of, keep_charts, keep_picture, render
from jepa.programs.probe_charts import head_charts
from jepa.programs.probe_tables import confusion_context, table_context
from jepa.runtime.device import resolve_device
from jepa.runtime.run_dir import RunDir, write_text

MOST_LABELS = 10  # the best and the worst, of each so many


def write_probe_report(
    run: RunDir,
    config: ProbeConfig,
    probed: Probed,
    rows: Mapping[str, Sequence[Sides]],
    sources: TaskSources,
) -> Path:
    """Write report.html and its charts and pictures under plots/; return the report's path.

    Files of hard examples that cannot be read are left out and counted.
    """
    run.create()
    table = probed.table
    clouds = _clouds(config, rows, sources)
    context = {
        "title": f"{config.name}: {Path(config.model).name}",
        "verdicts": verdicts(table),
        "facts": facts_of(_facts(config)),
        "table": table_context(table),
        "table_classes": len(table.classes),
        "heads": [_head(run, probed, head) for head in table.heads],
        "clouds": keep_charts(run.plots, clouds),
        "points": f"{_points(config, rows):,}" if clouds else "",
        "is_ahead": config.clips.ahead_s is not None,
        "config_yaml": dump(config),
    }
    write_text(run.report, render("probe.html.j2", context | _hardest(run, config, probed, sources)))
    return run.report


def label_scores(trial: Trial, names: Sequence[str]) -> list[tuple[str, float, int]]:
    """Return label, average precision and number of positives of every label that occurs, the best first."""
    found = []
    for column, name in enumerate(names):
        score, has = trial.scores[:, column : column + 1], trial.truth[:, column : column + 1]
        if has.any():
            found.append((name, headline("labels", score, has), int(has.sum())))
    return sorted(found, key=lambda one: -one[1])


def _facts(config: ProbeConfig) -> dict[str, Any]:
    """Return what a reader wants to know of how it was measured."""
    clips = config.clips
    return {
        "model": config.model,
        "weights": config.weights,
        "seeds": ", ".join(map(str, config.seeds)),
        "clips per video": clips.clips_per_video,
        "views per clip": clips.views,
        "precision": config.dtype,
        "features kept as": config.feature_dtype,
        "device": str(resolve_device(config.device)),
    }


def _head(run: RunDir, probed: Probed, head: str) -> dict[str, Any]:
    """Return what the page shows of one head."""
    table = probed.table
    trials = {name: several[0] for (name, by), several in probed.trials.items() if by == head}
    own = trials.get(PRETRAINED)
    labels = label_scores(own, table.classes) if own is not None and table.kind == "labels" else []
    return {
        "name": head,
        "charts": keep_charts(run.plots, head_charts(table.kind, trials, table.classes), prefix=head),
        "confusion": None if own is None else confusion_context(own.confusion, table.classes),
        "labels": [
            {"strong": False, "values": [name, f"{100 * score:.1f}", f"{count:,}"]}
            for name, score, count in ends(labels, MOST_LABELS)
        ],
        "unseen": len(table.classes) - len(labels),
    }


def ends(ordered: Sequence[Any], most: int) -> list[Any]:
    """Return the first and the last ``most``, each once."""
    return [*ordered[:most], *ordered[max(most, len(ordered) - most) :]]


def _clouds(config: ProbeConfig, rows: Mapping[str, Sequence[Sides]], sources: TaskSources) -> dict[str, str]:
    """Draw the held-out features of the model, and beside it those of the untrained encoder."""
    known = truth(sources.test, config.kind)
    names = sources.test.targets if config.kind == "values" else sources.test.classes
    charts = {}
    for row in (PRETRAINED, RANDOM_INIT):
        features = pooled_features(rows[row][0].test, config.pooling) if row in rows else None
        if features is not None:
            title = f"Features: {row}"
            charts[title] = feature_cloud(title, features, config.kind, known, names)
    return charts


def _points(config: ProbeConfig, rows: Mapping[str, Sequence[Sides]]) -> int:
    """Return how many points a cloud has."""
    several = rows.get(PRETRAINED) or next(iter(rows.values()))
    features = pooled_features(several[0].test, config.pooling)
    return 0 if features is None else len(shown_entries(features))


def _hardest(run: RunDir, config: ProbeConfig, probed: Probed, sources: TaskSources) -> dict[str, Any]:
    """Return the hardest examples of the model's first head, with pictures, and how many could not be read."""
    table = probed.table
    several = probed.trials.get((PRETRAINED, next(iter(table.heads), "")), ())
    found = hardest(config.kind, several[0], table.classes) if several else []
    shown, unread = [], 0
    for number, one in enumerate(found):
        entry = sources.test.entries[one.entry]
        frames = read_frames(entry, sources.test.modality, config.clips)
        if frames is None:
            unread += 1
            continue
        picture = keep_picture(
            run.plots / f"hardest_{number:02d}.jpg", draw_sheet([frames], height_px=HEIGHT_PX)
        )
        shown.append({"path": entry.path, "lines": one.lines, "picture": picture})
    return {"hardest": shown, "unread": unread, "hardest_rule": f"{RULES[config.kind]} {_by(table)}"}


def _by(table: ProbeTable) -> str:
    """Say who answered."""
    return f"Answers are those of the pretrained row, {next(iter(table.heads), '')} head, first seed."
