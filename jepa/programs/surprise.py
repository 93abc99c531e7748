"""The violation-of-expectation benchmark of a run: is it more surprised by the impossible video of each pair?"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from jepa.config.data import DataConfig
from jepa.config.schema import PretrainConfig
from jepa.data.decode import open_video
from jepa.data.violations import Pair, read_pairs
from jepa.errors import ConfigError, DataError
from jepa.objectives import Objective, build
from jepa.objectives.load import load_objective
from jepa.preprocess import preprocess
from jepa.probes.metrics import Measure
from jepa.probes.surprise import (
    absolute_accuracy,
    auroc,
    mean_by,
    pixel_surprise,
    relative_accuracy,
    surprise,
)
from jepa.runtime.charts import Series, line_chart
from jepa.runtime.seeding import seed_everything

TRAINED, UNTRAINED, COPY, EXTRAPOLATION = (
    "trained",
    "untrained",
    "pixels: same again",
    "pixels: go on as before",
)
ALL = "all"
STRIDE = 2  # frames between windows, as in arXiv:2502.11831

Judge = Callable[[Tensor], Tensor]  # videos (2, C, T, H, W) -> surprise over time (2, W)


@dataclass(frozen=True, slots=True)
class SurpriseRow:
    """How well one judge tells impossible from possible videos of one kind."""

    who: str
    kind: str
    pairs: int
    relative: Measure
    """Relative accuracy by the mean surprise of a video, with its interval."""
    absolute: float
    """Accuracy of single videos by their largest surprise."""
    auroc: float
    """Of single videos by their largest surprise."""


@dataclass(frozen=True, slots=True)
class SurpriseReport:
    """All judges on all kinds, and how the model's surprise goes over time."""

    rows: tuple[SurpriseRow, ...]
    curves: Mapping[str, Mapping[int, float]]
    """Mean surprise of the trained model for ``possible`` and ``impossible``, by the first predicted frame, counted in
    frames from the event."""

    def find(self, who: str, kind: str = ALL) -> SurpriseRow:
        """Return one row; raises KeyError when there is none."""
        found = [row for row in self.rows if (row.who, row.kind) == (who, kind)]
        if not found:
            raise KeyError(f"no row of {who!r} on {kind!r}")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as summary.json holds them."""
        rows = [
            {
                "who": row.who,
                "kind": row.kind,
                "pairs": row.pairs,
                "relative_accuracy": row.relative.value,
                "relative_accuracy_95": [row.relative.low, row.relative.high],
                "absolute_accuracy": row.absolute,
                "auroc": row.auroc,
            }
            for row in self.rows
        ]
        curves = {
            name: [[offset, value] for offset, value in sorted(curve.items())]
            for name, curve in self.curves.items()
        }
        return {"rows": rows, "curves": curves}

    def results(self) -> dict[str, dict[str, float]]:
        """Return the numbers that lead, by name: relative accuracy on all pairs, of every judge."""
        return {f"relative accuracy, {row.who}": asdict(row.relative) for row in self.rows if row.kind == ALL}

    def render(self) -> Table:
        """Return the relative accuracies for a terminal, one line per kind, one column per judge."""
        judges = list(dict.fromkeys(row.who for row in self.rows))
        table = Table(
            title="surprise: relative accuracy on matched pairs",
            caption="95% bootstrap intervals; chance is 50%",
        )
        for column in ("kind", "pairs", *judges):
            table.add_column(column, justify="left" if column == "kind" else "right")
        for kind in dict.fromkeys(row.kind for row in self.rows):
            line = [self.find(who, kind) for who in judges]
            cells = [
                f"{100 * one.relative.value:.1f}% ({100 * one.relative.low:.1f}-{100 * one.relative.high:.1f})"
                for one in line
            ]
            table.add_row(kind, str(line[0].pairs), *cells, style="bold" if kind == ALL else None)
        return table

    def chart(self) -> str:
        """Draw the trained model's surprise over time as an ``<svg>`` element."""
        lines = [
            Series(name, [float(at) for at in sorted(curve)], [curve[at] for at in sorted(curve)])
            for name, curve in self.curves.items()
        ]
        return line_chart("surprise", lines, x_label="frames from the event to the first predicted one")


def surprise_table(
    source: str | Path,
    folder: str | Path,
    *,
    stride: int = STRIDE,
    context: float | None = None,
    device: str = "auto",
) -> SurpriseReport:
    """Judge the pairs in ``folder`` by a run or a checkpoint, by the same before training, and by pixels.

    ``folder`` holds what `jepa.data.violations.write_violations` writes. Videos are resized and thinned out as in the
    run's training; windows move by ``stride`` of those frames. ``context`` is the visible fraction of a window, by
    default that of the run's causal mask, else one half. Raises CheckpointError or DataError, and ConfigError for a
    model of images.
    """
    objective, config = load_objective(source, device=device)
    if not config.data.has_video:
        raise ConfigError(f"{source} was trained on images alone; surprise needs a model of videos")
    pairs = read_pairs(folder)
    here = next(objective.parameters()).device
    seed_everything(config.seed, "weights")
    untrained = build(config).requires_grad_(False).eval().to(here)
    pattern, trained_on = _future_pattern(config)
    shown = trained_on if context is None else context
    watch = partial(_watch, config=config, stride=stride, context=shown, pattern=pattern)
    judges: dict[str, Judge] = {
        TRAINED: watch(objective),
        UNTRAINED: watch(untrained),
        COPY: partial(pixel_surprise, order=1),
        EXTRAPOLATION: partial(pixel_surprise, order=2),
    }
    scores: dict[str, list[Tensor]] = {who: [] for who in judges}  # (2, W) each
    moments = []  # (W,) each
    for pair in pairs:
        videos, event = _read(pair, config.data)
        for who, judge in judges.items():
            scores[who].append(judge(videos.to(here)).cpu())
        first_predicted = stride * torch.arange(scores[TRAINED][-1].shape[1]) + round(
            shown * config.data.frames_per_clip
        )
        moments.append(first_predicted - event)
    rows = [row for who, values in scores.items() for row in _rows(who, pairs, values)]
    curves = {
        name: mean_by(torch.cat([values[side] for values in scores[TRAINED]]), torch.cat(moments))
        for side, name in enumerate(("possible", "impossible"))
    }
    return SurpriseReport(tuple(rows), curves)


def _future_pattern(config: PretrainConfig) -> tuple[int, float]:
    """Return the mask token that was trained to predict the future, and the fraction that was visible then.

    Without a causal mask: the first token, which knows other gaps, and one half.
    """
    for number, mask in enumerate(config.masks.video):
        if mask.kind == "causal":
            return number, mask.context
    return 0, 0.5


def _watch(
    objective: Objective, *, config: PretrainConfig, stride: int, context: float, pattern: int
) -> Judge:
    """Return the surprise of ``objective`` as a function of the videos alone."""
    return partial(
        surprise,
        objective,
        window=config.data.frames_per_clip,
        context=context,
        stride=stride,
        pattern=pattern,
    )


def _read(pair: Pair, data: DataConfig) -> tuple[Tensor, int]:
    """Return the possible and the impossible video as the model sees them, (2, C, T, H, W), and their event's frame."""
    clips, step = [], 1
    for path in (pair.possible, pair.impossible):
        with open_video(str(path), data.decoder) as video:
            # Every n-th frame, as in training.
            step = data.stride or max(1, round(video.info.fps / (data.fps or video.info.fps)))
            frames = video.read(range(0, video.info.frames, step))
        clips.append(preprocess(frames, data.resolution, mean=data.mean, std=data.std))
    if clips[0].shape != clips[1].shape:
        raise DataError(
            f"pair {pair.name!r}: the videos have {clips[0].shape[1]} and {clips[1].shape[1]} frames; "
            "matched videos have equally many"
        )
    return torch.stack(clips), pair.event_frame // step


def _rows(who: str, pairs: Iterable[Pair], scores: list[Tensor]) -> list[SurpriseRow]:
    """Score one judge on all pairs and on each kind."""
    means = torch.stack([values.mean(dim=1) for values in scores])  # (P, 2)
    peaks = torch.stack([values.amax(dim=1) for values in scores])  # (P, 2)
    kinds = [pair.kind for pair in pairs]
    rows = []
    for kind in (*dict.fromkeys(kinds), ALL):
        member = torch.tensor([kind in (ALL, own) for own in kinds])
        possible, impossible = peaks[member].unbind(dim=1)
        rows.append(
            SurpriseRow(
                who,
                kind,
                pairs=int(member.sum()),
                relative=relative_accuracy(*means[member].unbind(dim=1)),
                absolute=absolute_accuracy(possible, impossible),
                auroc=auroc(possible, impossible),
            )
        )
    return rows
