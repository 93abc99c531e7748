"""Held-out features of one row as points in the plane, coloured by what they should be told apart by."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jepa.probes.features import RAW, Features
from jepa.probes.metrics import Task, pool_scores
from jepa.probes.plane import principal_plane
from jepa.probes.rows import take_rows
from jepa.programs.evaluate import Kinds
from jepa.programs.probe_charts import MOST_POINTS, thinned
from jepa.runtime.axes import COLOURS
from jepa.runtime.scatter import Cloud, coloured, scatter_chart

MOST_CLASSES, MOST_NAMED = 20, 12
PALE = "#c9ced4"
FIFTHS = ("#2c105c", "#711f81", "#b63679", "#ee605e", "#f0a35e")  # dark is low
FIFTH_NAMES = ("lowest fifth", "second", "middle", "fourth", "highest fifth")


def pooled_features(kinds: Kinds, pooling: str) -> Features | None:
    """Return one feature per clip: pooled in the task's way, or pixels; None where there are only tokens."""
    return kinds.get(pooling) or kinds.get(RAW)


def shown_entries(features: Features, most: int = MOST_POINTS) -> Tensor:
    """Return the entries that are drawn: all, or at most ``most`` that are evenly spread, (E,) long."""
    entries: Tensor = torch.unique(features.entries)
    return entries[thinned(len(entries), most)]


def entry_features(features: Features, *, most: int = MOST_POINTS) -> tuple[Tensor, Tensor]:
    """Average the clips of each entry that is drawn: (E, D), and the entries (E,)."""
    index = torch.isin(features.entries, shown_entries(features, most)).nonzero().flatten()
    values = take_rows(features.values, index).flatten(1)
    return pool_scores(values, features.entries[index])


def feature_cloud(title: str, features: Features, task: Task, truth: Tensor, names: Sequence[str]) -> str:
    """Draw the plane of ``features``; ``truth`` is of all entries of the source, ``names`` its classes or targets."""
    values, entries = entry_features(features)
    places, shares = principal_plane(values)
    clouds = [
        Cloud(name, places[member, 0].tolist(), places[member, 1].tolist(), colour, shape)
        for name, member, colour, shape in groups(task, truth[entries], names)
    ]
    x_label, y_label = (
        f"{which} component, {100 * share:.0f} % of variance"
        for which, share in zip(("first", "second"), shares, strict=True)
    )
    return scatter_chart(title, clouds, x_label=x_label, y_label=y_label)


def groups(task: Task, truth: Tensor, names: Sequence[str]) -> list[tuple[str, Tensor, str, str]]:
    """Sort entries into groups: name, members (E,) bool, colour and shape.

    classes: one each, or the most frequent ones before all others. labels: with and without the label that parts the
    entries most evenly. values: fifths of the first number.
    """
    if task == "labels":
        shares = truth.float().mean(dim=0)
        label = int((shares - 0.5).abs().argmin())
        has = truth[:, label] == 1
        return [
            (f"without {names[label]}", ~has, PALE, "circle"),
            (f"with {names[label]}", has, COLOURS[0], "circle"),
        ]
    if task == "values":
        first = truth[:, 0].float().contiguous()
        limits = torch.quantile(first, torch.tensor([0.2, 0.4, 0.6, 0.8]))
        fifth = torch.bucketize(first, limits)
        return [
            (f"{names[0]}: {name}" if number == 0 else name, fifth == number, FIFTHS[number], "circle")
            for number, name in enumerate(FIFTH_NAMES)
        ]
    counts = torch.bincount(truth, minlength=len(names))
    shown = [number for number in range(len(names)) if counts[number]]
    named = shown
    if len(shown) > MOST_CLASSES:
        named = sorted(sorted(shown, key=lambda number: -int(counts[number]))[:MOST_NAMED])
    found = [(names[number], truth == number, *coloured(place)) for place, number in enumerate(named)]
    rest = ~torch.isin(truth, torch.tensor(named))
    if rest.any():
        found.insert(0, (f"{len(shown) - len(named)} other classes", rest, PALE, "circle"))
    return found
