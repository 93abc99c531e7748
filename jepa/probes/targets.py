"""What a head must answer, for each kind of task: labels checked and encoded, its loss, its answers, its grade."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.checks import check_labels
from jepa.probes.metrics import PRIMARY, Task, headline


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """One task as the training labels define it; a head's outputs are logits, or standardised numbers."""

    task: Task
    outputs: int
    classes: tuple[int, ...]  # labels as given to fit; column numbers for several labels; none for numbers
    mean: Tensor  # (K,) of the training numbers; 0 for labels
    deviation: Tensor  # (K,), 1 for labels

    def encode(self, labels: Tensor, samples: int) -> Tensor:
        """Return class indices (n,) long, labels (n, C) or standardised numbers (n, K) float.

        Raises DataError for labels that are missing, unknown or of another form than those of training.
        """
        if self.task == "classes":
            return check_labels(labels, samples, known=self.classes)[1]
        table = (
            _check_labels_table(labels, samples) if self.task == "labels" else _check_values(labels, samples)
        )
        if table.shape[1] != self.outputs:
            raise DataError(
                f"test labels have {table.shape[1]} columns, but training labels had {self.outputs}; "
                "give the same columns to both"
            )
        return ((table - self.mean) / self.deviation).float()

    def losses(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return each head's mean loss: (G, B, C), encoded target of B samples -> (G,).

        Cross-entropy for classes, binary cross-entropy for labels, squared error for numbers; the last two are
        means over columns as well.
        """
        outputs = outputs.float()
        if self.task == "classes":
            log_p = outputs.log_softmax(dim=2)
            return -log_p.gather(2, target.expand(len(outputs), -1)[..., None]).mean(dim=(1, 2))
        wanted = target.expand_as(outputs)
        if self.task == "labels":
            surprise = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
            return surprise.mean(dim=(1, 2))
        return (outputs - wanted).square().mean(dim=(1, 2))

    def grades(self, outputs: Tensor, target: Tensor) -> list[float]:
        """Return each head's primary measure: (G, B, C), encoded target -> G numbers.

        NaN where it is not defined: for a head that is not finite, and where no sample has a label.
        """
        if self.task == "classes":
            return (outputs.argmax(dim=2) == target).double().mean(dim=1).tolist()
        if self.task == "labels" and not target.any():
            return [float("nan")] * len(outputs)
        return [
            headline(self.task, one.float(), target) if torch.isfinite(one).all() else float("nan")
            for one in outputs
        ]

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Turn logits into probabilities: (n, C) -> (n, C). Raises ValueError for a task of numbers."""
        if self.task == "values":
            raise ValueError(
                "a head for values has no probabilities; call predict, which returns the numbers"
            )
        return outputs.softmax(dim=1) if self.task == "classes" else outputs.sigmoid()

    def answers(self, outputs: Tensor) -> Tensor:
        """Turn outputs into labels as given to fit (n,), into 0 and 1 (n, C), or into numbers (n, K)."""
        if self.task == "classes":
            return torch.tensor(self.classes)[outputs.argmax(dim=1)]
        if self.task == "labels":
            return (outputs > 0).long()
        return outputs * self.deviation + self.mean

    def score(self, outputs: Tensor, labels: Tensor) -> float:
        """Return accuracy, mAP or R2 of outputs (n, C). Raises DataError as ``encode`` does."""
        return headline(self.task, outputs, self.encode(labels, len(outputs)))


def learn_targets(task: Task, labels: Tensor, samples: int) -> tuple[Targets, Tensor]:
    """Read a task from training labels, and return it with the encoded labels.

    classes: (n,) whole numbers. labels: (n, C) of 0 and 1; a column without a single 1 is allowed: its output
    learns to say no, and mAP counts it only where the test set has a positive. values: (n, K) or (n,) numbers.
    Raises DataError for labels that are missing or teach nothing: one class, no positive, a constant number.
    """
    if task not in PRIMARY:
        raise ValueError(f"task must be one of {list(PRIMARY)}, got {task!r}")
    if task == "classes":
        classes, target = check_labels(labels, samples)
        return Targets(task, len(classes), classes, torch.zeros(1), torch.ones(1)), target
    if task == "labels":
        table = _check_labels_table(labels, samples)
        if not table.any():
            raise DataError(f"none of {samples} training samples has any label; a probe needs a positive")
        width = table.shape[1]
        return Targets(task, width, tuple(range(width)), torch.zeros(width), torch.ones(width)), table
    numbers = _check_values(labels, samples)
    mean, deviation = numbers.double().mean(dim=0), numbers.double().std(dim=0, correction=0)
    still = (deviation <= 1e-6 * (1e-6 + mean.abs())).nonzero().flatten().tolist()
    if still:
        raise DataError(
            f"values: columns {still} are constant over {samples} training samples, so there is nothing to "
            "predict; leave them out"
        )
    targets = Targets(task, numbers.shape[1], (), mean.float(), deviation.float())
    return targets, targets.encode(numbers, samples)


def best_trial(trials: Sequence[Mapping[str, float]]) -> int | None:
    """Return the number of the trial with the highest score; among equals, the lowest loss decides.

    A trial whose loss is not finite is never the best; None when there is no other.
    """
    whole = [number for number, trial in enumerate(trials) if math.isfinite(trial["loss"])]
    return min(whole, key=lambda number: _rank(trials[number]), default=None)


def _rank(trial: Mapping[str, float]) -> tuple[float, float]:
    """Order trials, the best first; a score that is not defined is the worst."""
    return (-trial["score"] if math.isfinite(trial["score"]) else math.inf, trial["loss"])


def _check_labels_table(labels: Tensor, samples: int) -> Tensor:
    """Return (n, C) float of 0 and 1, or refuse."""
    labels = labels.detach().cpu()
    if labels.ndim != 2 or len(labels) != samples or labels.shape[1] == 0:
        raise DataError(
            f"several labels at once: {samples} samples need a table of {samples} rows, one column per class, "
            f"got {tuple(labels.shape)}"
        )
    wrong = ((labels != 0) & (labels != 1)).any(dim=1).nonzero().flatten()
    if len(wrong):
        raise DataError(
            f"several labels at once: {len(wrong)} of {samples} rows hold something else than 0 and 1, first row "
            f"{int(wrong[0])}: {_first(labels[wrong[0]].tolist())}; a sample without labels has zeros only"
        )
    return labels.float()


def _first(row: Sequence[float]) -> list[float]:
    """Return what is neither 0 nor 1, five numbers at most."""
    return [number for number in row if number not in (0, 1)][:5]


def _check_values(labels: Tensor, samples: int) -> Tensor:
    """Return (n, K) float numbers, or refuse."""
    labels = labels.detach().cpu()
    numbers = (labels[:, None] if labels.ndim == 1 else labels).float()
    if numbers.ndim != 2 or len(numbers) != samples or numbers.shape[1] == 0:
        raise DataError(
            f"values: {samples} samples need {samples} rows of numbers, got {tuple(labels.shape)}"
        )
    bad = (~torch.isfinite(numbers)).any(dim=1).nonzero().flatten()
    if len(bad):
        raise DataError(
            f"values: {len(bad)} of {samples} samples have a label that is NaN or infinite, first row "
            f"{int(bad[0])}; leave samples without a label out"
        )
    return numbers
