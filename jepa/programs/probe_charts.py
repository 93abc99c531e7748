"""The charts of a probe report: what was tried, how heads learned, and where predicted numbers fell."""

import math
from collections.abc import Mapping, Sequence

from jepa.probes.metrics import Task, primary
from jepa.probes.table import PRETRAINED
from jepa.probes.trial import Trial
from jepa.runtime.axes import COLOURS
from jepa.runtime.charts import Series, line_chart
from jepa.runtime.scatter import Cloud, scatter_chart

RATE, SCORE, LOSS = "learning rate", "score", "loss"  # as heads name them in their trials
MOST_TARGETS = 6
MOST_POINTS = 2000


def head_charts(task: Task, trials: Mapping[str, Trial], targets: Sequence[str]) -> dict[str, str]:
    """Draw all charts of one head, by title; ``trials`` are by name of the features, ``targets`` names of numbers."""
    charts = choice_chart(task, trials) | learning_charts(task, trials)
    if task == "values" and PRETRAINED in trials:
        charts |= value_charts(trials[PRETRAINED], targets)
    return charts


def choice_chart(task: Task, trials: Mapping[str, Trial]) -> dict[str, str]:
    """Draw the validation score against what was varied; nothing where nothing was.

    Two settings that vary give a line per value of the second, of the pretrained row; one gives a line per row.
    """
    own = trials.get(PRETRAINED) or next(iter(trials.values()))
    tried = [one for one in own.trials if SCORE in one]
    varied = [
        name for name in (tried[0] if tried else ()) if name not in (SCORE, LOSS) and _differs(tried, name)
    ]
    if not varied:
        return {}
    x = RATE if RATE in varied else varied[0]
    rest = [name for name in varied if name != x]
    title = f"Validation {primary(task)} by {x}"
    if rest:
        values = sorted({one[rest[0]] for one in tried})
        lines = [
            _curve(f"{rest[0]} {value:g}", [one for one in tried if one[rest[0]] == value], x)
            for value in values
        ]
    else:
        lines = [_curve(name, trial.trials, x) for name, trial in trials.items()]
    is_log = min(one[x] for one in tried) > 0
    return {title: line_chart(title, lines, x_label=x, log_x=is_log)}


def learning_charts(task: Task, trials: Mapping[str, Trial]) -> dict[str, str]:
    """Draw loss and validation score over the epochs, of the heads that were chosen."""
    charts = {}
    own = trials.get(PRETRAINED)
    if own is not None and own.history:
        lines = [
            _epochs(name, own, key)
            for name, key in (("training", "training loss"), ("validation", LOSS))
            if key in own.history[0]
        ]
        title = "Loss of the chosen head"
        charts[title] = line_chart(title, lines, x_label="epoch")
    scored = {name: one for name, one in trials.items() if one.history and SCORE in one.history[0]}
    if scored:
        title = f"Validation {primary(task)} of the chosen head"
        lines = [_epochs(name, one, SCORE) for name, one in scored.items()]
        charts[title] = line_chart(title, lines, x_label="epoch")
    return charts


def value_charts(trial: Trial, targets: Sequence[str]) -> dict[str, str]:
    """Draw predicted against true numbers, one chart per target."""
    charts = {}
    keep = thinned(len(trial.truth), MOST_POINTS)
    for column, name in enumerate(targets[:MOST_TARGETS]):
        true, predicted = trial.truth[keep, column].tolist(), trial.scores[keep, column].tolist()
        title = f"{name}: predicted against true"
        cloud = Cloud(name, true, predicted, COLOURS[0])
        charts[title] = scatter_chart(title, [cloud], x_label="true", y_label="predicted", diagonal=True)
    return charts


def thinned(samples: int, most: int) -> slice:
    """Return places of at most ``most`` of ``samples``, evenly spread."""
    return slice(None, None, max(1, math.ceil(samples / most)))


def _differs(trials: Sequence[Mapping[str, float]], name: str) -> bool:
    """Say whether a setting was varied."""
    return len({one[name] for one in trials}) > 1


def _curve(name: str, trials: Sequence[Mapping[str, float]], x: str) -> Series:
    """Draw the score of some trials in ascending order of ``x``."""
    ordered = sorted((one for one in trials if SCORE in one and x in one), key=lambda one: one[x])
    return Series(name, [one[x] for one in ordered], [one[SCORE] for one in ordered])


def _epochs(name: str, trial: Trial, key: str) -> Series:
    """Draw what the history says of the chosen head."""
    chosen = next(
        number
        for number, one in enumerate(trial.trials)
        if all(one.get(setting) == value for setting, value in trial.chosen.items())
    )
    return Series(
        name, list(range(1, len(trial.history) + 1)), [epoch[key][chosen] for epoch in trial.history]
    )
