"""The linear probe: what a straight cut through frozen features can tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.checks import check_features, check_labels
from jepa.probes.lbfgs import minimise
from jepa.probes.split import split_by_group

# scikit-learn's C is 1 / (samples * weight decay); this grid is C = 10 to .0001 at a thousand samples.
# (iterations, gradient norm): a choice needs no more digits than its few hundred answers show.
CHOOSING, FITTING = (50, 1e-3), (300, 1e-4)
WEIGHT_DECAYS: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """What a probe answered on held-out samples."""

    accuracy: float
    balanced_accuracy: float  # mean recall of the classes that occur in the test set
    weight_decay: float
    confusion: Tensor  # (C, C) long; row: true class, column: answer
    classes: tuple[int, ...]
    predictions: Tensor  # (n,) long, labels as given to fit
    train_size: int
    test_size: int


class LinearProbe:
    """Softmax regression on standardised features; the weight decay is chosen on a part of the training set.

    The loss is the mean cross-entropy plus weight_decay / 2 times the squared weights; the bias is free. Test
    samples take no part in any choice.
    """

    def __init__(
        self,
        *,
        weight_decays: Sequence[float] = WEIGHT_DECAYS,
        validation_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        """Keep the settings; ``seed`` draws the validation part, and nothing else is random."""
        if not weight_decays or min(weight_decays) <= 0:
            raise ValueError(f"weight_decays must be positive and not empty, got {list(weight_decays)}")
        self.weight_decays = tuple(sorted(weight_decays))
        self.validation_fraction, self.seed = validation_fraction, seed

    def fit(self, features: Tensor, labels: Tensor, groups: Sequence[str] | None = None) -> Self:
        """Choose the weight decay and fit: (n, D) float, (n,) long.

        Samples of one group (the clips of one video) never stand on both sides of the split that chooses.
        Raises DataError when features are not finite, when lengths differ, when labels are missing or all
        the same, and when there are too few groups to split.
        """
        check_features(features, "training features")
        self.classes, target = check_labels(labels, len(features))
        self.mean, self.scale = _standardiser(features)
        rotated, self.rotation, spectrum = _rotate(self._standardise(features))  # (n, R), (D, R), (R,)
        fit = partial(_fit, spectrum=spectrum, classes=len(self.classes))
        self.weight_decay = self.weight_decays[0]
        if len(self.weight_decays) > 1:
            fitted, held_out = split_by_group(
                target, groups, fraction=self.validation_fraction, seed=self.seed
            )
            weights = fit(rotated[fitted], target[fitted], decays=self.weight_decays, effort=CHOOSING)
            self.weight_decay = self._choose(_logits(rotated[held_out], weights), target[held_out])
        self.weights = fit(rotated, target, decays=[self.weight_decay], effort=FITTING)[0]  # (R + 1, C)
        self.train_size = len(features)
        return self

    def decision(self, features: Tensor) -> Tensor:
        """Return the logits, (n, D) -> (n, C).

        Raises DataError for features that are not finite or of another width than those that were fitted.
        """
        check_features(features, "test features")
        if features.shape[1] != len(self.mean):
            raise DataError(
                f"test features have width {features.shape[1]}, but the probe was fitted on {len(self.mean)}"
            )
        return _logits(self._standardise(features) @ self.rotation, self.weights[None])[0]

    def predict(self, features: Tensor) -> Tensor:
        """Return the most likely label of each sample: (n, D) -> (n,) long."""
        return torch.tensor(self.classes)[self.decision(features).argmax(dim=1)]

    def score(self, features: Tensor, labels: Tensor) -> ProbeScore:
        """Compare predictions with ``labels``: (n, D), (n,) long.

        Raises DataError as ``fit`` does, and for a label that the training set never showed.
        """
        predictions = self.predict(features)
        _, target = check_labels(labels, len(features), known=self.classes)
        answer = torch.searchsorted(torch.tensor(self.classes), predictions)
        return ProbeScore(
            *accuracies(table := confusion(target, answer, len(self.classes))),
            weight_decay=self.weight_decay,
            confusion=table,
            classes=self.classes,
            predictions=predictions,
            train_size=self.train_size,
            test_size=len(features),
        )

    def _standardise(self, features: Tensor) -> Tensor:
        """Scale by the training set's mean and deviation: (n, D) -> (n, D)."""
        return (features.detach().cpu().float() - self.mean) * self.scale

    def _choose(self, logits: Tensor, target: Tensor) -> float:
        """Return the weight decay with most right answers; among equals, the lowest cross-entropy decides."""
        right = (logits.argmax(dim=2) == target).double().mean(dim=1)  # (G,)
        surprise = F.cross_entropy(
            logits.transpose(1, 2), target.expand(len(logits), -1), reduction="none"
        ).mean(dim=1)
        best = min(range(len(right)), key=lambda i: (-float(right[i]), float(surprise[i])))
        return self.weight_decays[best]


def confusion(target: Tensor, answer: Tensor, classes: int) -> Tensor:
    """Count pairs of class indices: (n,), (n,) long -> (C, C) long, a row per true class."""
    return torch.bincount(target * classes + answer, minlength=classes**2).view(classes, classes)


def accuracies(table: Tensor) -> tuple[float, float]:
    """Return accuracy and balanced accuracy (mean recall of classes that occur) of a (C, C) matrix."""
    totals = table.sum(dim=1)
    recalls = table.diagonal()[totals > 0] / totals[totals > 0]
    return float(table.diagonal().sum() / table.sum()), float(recalls.mean())


def _fit(
    inputs: Tensor,
    target: Tensor,
    *,
    spectrum: Tensor,
    classes: int,
    decays: Sequence[float],
    effort: tuple[int, float],
) -> Tensor:
    """Fit one softmax regression per weight decay, all at once: (n, R), (n,) long -> (G, R + 1, C).

    The columns of ``inputs`` are uncorrelated, with variances ``spectrum`` (R,). The last weight is the bias.
    """
    decay = torch.tensor(decays)[:, None, None]  # (G, 1, 1)
    penalty = decay * F.pad(torch.ones_like(spectrum), (0, 1))[:, None]  # (G, R + 1, 1): none on the bias
    wanted = F.one_hot(target, classes).float()
    # At zero weights the Hessian is about diag(spectrum) / C + penalty for each class. In units of its root
    # the curvature is about one in every direction, and tens of iterations do where thousands would not.
    root = (F.pad(spectrum, (0, 1), value=1.0)[:, None] / classes + penalty).rsqrt()  # (G, R + 1, 1)
    with_one = F.pad(inputs, (0, 1), value=1.0)  # (n, R + 1)

    def evaluate(point: Tensor) -> tuple[Tensor, Tensor]:
        weights = point.view(len(decay), -1, classes) * root
        log_p = _logits(inputs, weights).log_softmax(dim=2)  # (G, n, C)
        loss = -(log_p * wanted).sum(dim=2).mean(dim=1) + (penalty * weights.square()).sum(dim=(1, 2)) / 2
        error = (log_p.exp() - wanted) / len(target)  # (G, n, C)
        pull = (with_one.T @ error.transpose(0, 1).flatten(1)).view(-1, len(decay), classes).transpose(0, 1)
        return loss, ((pull + penalty * weights) * root).flatten(1)

    start = torch.zeros(len(decay), with_one.shape[1] * classes)
    found = minimise(evaluate, start, iterations=effort[0], tolerance=effort[1])
    return found.view(len(decay), -1, classes) * root


def _logits(inputs: Tensor, weights: Tensor) -> Tensor:
    """Apply G linear maps with bias: (n, R), (G, R + 1, C) -> (G, n, C), as one large product."""
    joined = weights[:, :-1].transpose(0, 1).flatten(1)  # (R, G * C)
    scores = (inputs @ joined).view(len(inputs), len(weights), -1)  # (n, G, C)
    return scores.transpose(0, 1) + weights[:, -1:]


def _standardiser(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and inverse deviation of each feature; a constant one gets 0 and stays silent."""
    values = features.detach().cpu().double()
    mean, deviation = values.mean(dim=0), values.std(dim=0, correction=0)
    varies = deviation > 1e-6 * (1 + mean.abs())
    return mean.float(), torch.where(varies, 1 / deviation.clamp_min(1e-30), 0).float()


def _rotate(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate onto the principal axes that the samples span: (n, D) -> (n, R), (D, R), variances (R,).

    A weight outside that span changes no answer and costs penalty, so where n < D time is won and nothing
    lost.
    """
    n, width = values.shape
    wide = width > n
    exact = values.double()
    variances, axes = torch.linalg.eigh((exact @ exact.T if wide else exact.T @ exact) / n)
    keep = variances > 1e-9 * variances[-1].clamp_min(1e-30)
    variances, axes = variances[keep], axes[:, keep]
    if wide:
        axes = exact.T @ axes / (n * variances).sqrt()
    return (exact @ axes).float(), axes.float(), variances.float()
