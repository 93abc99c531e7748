"""One head on one set of features: fitted on train, scored once on test, by video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.checks import check_labels
from jepa.probes.grid import GridProbe
from jepa.probes.heads import Probe
from jepa.probes.metrics import Measure, Task, confusion, measure, pool_scores
from jepa.probes.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Features of clips, and what is known about the entries they were cut from."""

    values: Rows  # (n, D) or (n, N, D)
    entries: Tensor  # (n,) long: the entry of each clip
    truth: Tensor  # (E,) class numbers, (E, C) of 0 and 1, or (E, K) numbers, for all entries of the source
    videos: tuple[str, ...]  # (E,) the file of each entry; clips of one file are never split

    @property
    def labels(self) -> Tensor:
        """The truth of every clip, (n, ...)."""
        return self.truth[self.entries]

    @property
    def groups(self) -> list[str]:
        """The video of every clip, (n,)."""
        return [self.videos[entry] for entry in self.entries.tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What one fitted head answered to the test entries."""

    measures: Mapping[str, Measure]
    chosen: Mapping[str, float]
    trials: tuple[Mapping[str, float], ...]
    """Every setting that was tried, with its score on the validation part."""
    classes: tuple[int, ...]
    scores: Tensor  # (E', C) probabilities or numbers, one row per test entry that gave a clip
    truth: Tensor  # (E',) places in `classes`, (E', C) or (E', K)
    entries: Tensor  # (E',) long
    confusion: Tensor | None  # (C, C) long; row: true class, column: answer; None but for classes
    history: tuple[Mapping[str, Sequence[float]], ...] = ()
    """Of heads that learn in epochs: per epoch, what each setting in the order of ``trials`` scored."""


def run_trial(
    probe: Probe,
    task: Task,
    train: Labelled,
    test: Labelled,
    *,
    validation: Labelled | None = None,
    seed: int = 0,
) -> Trial:
    """Fit ``probe`` on ``train`` and score it once on ``test``.

    The answers to clips and views of one entry are averaged before they are scored. Raises DataError for features
    or labels that cannot be used, and where the two sides come from different encoders.
    """
    if tuple(train.values.shape[1:]) != tuple(test.values.shape[1:]):
        raise DataError(
            f"training features have shape {tuple(train.values.shape[1:])} and test features "
            f"{tuple(test.values.shape[1:])}: they are of different encoders or clips"
        )
    aside = None if validation is None else (validation.values, validation.labels)
    probe.fit(train.values, train.labels, train.groups, validation=aside)
    answers = probe.predict(test.values) if task == "values" else probe.predict_proba(test.values)
    scores, entries = pool_scores(answers.float(), test.entries)
    truth, table = test.truth[entries], None
    if task == "classes":
        _, truth = check_labels(truth, len(truth), known=probe.classes)
        table = confusion(truth, scores.argmax(dim=1), len(probe.classes))
    groups = [test.videos[entry] for entry in entries.tolist()]
    return Trial(
        measures=measure(task, scores, truth, groups=groups, seed=seed),
        chosen=probe.chosen,
        trials=tuple(probe.trials),
        classes=probe.classes,
        scores=scores,
        truth=truth,
        entries=entries,
        confusion=table,
        history=tuple(probe.history) if isinstance(probe, GridProbe) else (),
    )


def blind_answers(
    task: Task, train: Labelled, test: Labelled, *, seed: int = 0
) -> dict[str, dict[str, Measure]]:
    """Return what is right without looking, by name of the row.

    classes: always the largest class of the training set, and a fair die. labels: each label as often as in training,
    which as a constant ranks nothing, so mAP is the share of positives. values: always the training mean.
    """
    entries = torch.unique(test.entries)
    groups = [test.videos[entry] for entry in entries.tolist()]
    shown = train.truth[torch.unique(train.entries)]
    truth = test.truth[entries]
    if task == "classes":
        classes, fitted = check_labels(shown, len(shown))
        _, truth = check_labels(truth, len(truth), known=classes)
        shares = torch.bincount(fitted, minlength=len(classes)).float()
        found = measure(task, shares.expand(len(truth), -1), truth, groups=groups, seed=seed)
        return {MAJORITY: found, CHANCE: {name: _exact(luck(name, len(classes))) for name in found}}
    constant = shown.float().mean(dim=0).expand(len(truth), -1)
    return {TRAINING_MEAN: measure(task, constant, truth, groups=groups, seed=seed)}


def luck(name: str, classes: int) -> float:
    """Return the expected value of a measure for a fair die."""
    return min(1.0, 5 / classes) if "5" in name else 1 / classes


def _exact(value: float) -> Measure:
    """Return a value that no sample can change."""
    return Measure(value, value, value)


MAJORITY, CHANCE, TRAINING_MEAN = "majority class", "chance", "training mean"
