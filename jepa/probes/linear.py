"""The linear probe: what a straight cut through frozen features can tell."""

from collections.abc import Sequence
from functools import partial
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from jepa.probes.checks import check_features, check_width
from jepa.probes.metrics import Task
from jepa.probes.rows import Rows, as_tensor
from jepa.probes.solve import Effort, apply_weights, fit_logistic, fit_ridge, rotate, standardiser
from jepa.probes.split import split_by_group
from jepa.probes.targets import Targets, best_trial, learn_targets

# scikit-learn's C is 1 / (samples * weight decay); this grid is C = 10 to .0001 at a thousand samples.
WEIGHT_DECAYS: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
# (iterations, gradient norm): a choice needs no more digits than its few hundred answers show.
CHOOSING, FITTING = (50, 1e-3), (300, 1e-4)


class LinearProbe:
    """Linear answers from standardised features; the weight decay is chosen on a part of the training set.

    Softmax regression for classes, one logistic regression per class for labels, ridge regression for values.
    The loss is the mean over samples of the cross-entropy (summed over labels), or half the squared error of
    standardised values, plus weight_decay / 2 times the squared weights; the bias is free. Test samples take no
    part in any choice.
    """

    classes: tuple[int, ...]
    """The labels as given to fit, in the order of the outputs; none for values."""
    chosen: dict[str, float]
    """The weight decay that answered best on the validation part."""
    trials: list[dict[str, float]]
    """Each weight decay that was tried, with its validation score and loss; none where there was no choice."""

    def __init__(
        self,
        *,
        weight_decays: Sequence[float] = WEIGHT_DECAYS,
        validation_fraction: float = 0.2,
        task: Task = "classes",
        seed: int = 0,
    ) -> None:
        """Keep the settings; ``seed`` draws the validation part, and nothing else is random."""
        if not weight_decays or min(weight_decays) <= 0:
            raise ValueError(f"weight_decays must be positive and not empty, got {list(weight_decays)}")
        self.weight_decays = tuple(sorted(weight_decays))
        self.validation_fraction, self.task, self.seed = validation_fraction, task, seed

    def fit(
        self,
        features: Rows,
        labels: Tensor,
        groups: Sequence[str] | None = None,
        *,
        validation: tuple[Rows, Tensor] | None = None,
    ) -> Self:
        """Choose the weight decay and fit: (n, D), labels as ``learn_targets`` reads them.

        Samples of one group (the clips of one video) never stand on both sides of the split that chooses; with
        ``validation`` nothing is split. All features are held in memory as float32. Raises DataError when
        features are not finite, when lengths differ, when labels are missing or all the same, and when there are
        too few groups to split.
        """
        values = as_tensor(features)
        check_features(values, "training features")
        self.targets, target = learn_targets(self.task, labels, len(values))
        self.classes = self.targets.classes
        self.mean, self.scale = standardiser(values)
        rotated, self.rotation, spectrum = rotate(self._standardise(values))  # (n, R), (D, R), (R,)
        solve = partial(_solve, targets=self.targets, spectrum=spectrum)
        self.weight_decay, self.trials = self.weight_decays[0], []
        if len(self.weight_decays) > 1:
            inputs, wanted = rotated, target
            if validation is None:
                fitted, held_out = split_by_group(
                    target, groups, fraction=self.validation_fraction, seed=self.seed
                )
                inputs, wanted = rotated[fitted], target[fitted]
                held_inputs, held_target = rotated[held_out], target[held_out]
            else:
                held_inputs = self._inputs(validation[0], "validation features")
                held_target = self.targets.encode(validation[1], len(held_inputs))
            weights = solve(inputs, wanted, decays=self.weight_decays, effort=CHOOSING)
            self._choose(apply_weights(held_inputs, weights), held_target)
        self.weights = solve(rotated, target, decays=[self.weight_decay], effort=FITTING)[0]  # (R + 1, C)
        self.chosen = {"weight decay": self.weight_decay}
        return self

    def decision(self, features: Rows) -> Tensor:
        """Return logits, or standardised values: (n, D) -> (n, C).

        Raises DataError for features that are not finite or of another width than those that were fitted.
        """
        return apply_weights(self._inputs(features, "test features"), self.weights[None])[0]

    def predict(self, features: Rows) -> Tensor:
        """Return labels (n,), 0 and 1 for each label (n, C), or values (n, K)."""
        return self.targets.answers(self.decision(features))

    def predict_proba(self, features: Rows) -> Tensor:
        """Return the probability of each class: (n, D) -> (n, C). Raises ValueError for values."""
        return self.targets.probabilities(self.decision(features))

    def score(self, features: Rows, labels: Tensor) -> float:
        """Return accuracy, mAP or R2. Raises DataError as ``fit`` does, and for labels unseen in training."""
        return self.targets.score(self.decision(features), labels)

    def _inputs(self, features: Rows, what: str) -> Tensor:
        """Check, standardise and rotate: (n, D) -> (n, R)."""
        values = as_tensor(features)
        check_features(values, what)
        check_width(values, len(self.mean), what)
        return self._standardise(values) @ self.rotation

    def _standardise(self, features: Tensor) -> Tensor:
        """Scale by the training set's mean and deviation: (n, D) -> (n, D)."""
        return (features.detach().cpu().float() - self.mean) * self.scale

    def _choose(self, outputs: Tensor, target: Tensor) -> None:
        """Take the weight decay with the best validation score; among equals, the lowest loss decides."""
        losses = self.targets.losses(outputs, target).tolist()
        grades = self.targets.grades(outputs, target)
        self.trials = [
            {"weight decay": decay, "score": grade, "loss": loss}
            for decay, grade, loss in zip(self.weight_decays, grades, losses, strict=True)
        ]
        best = best_trial(self.trials)
        assert best is not None  # each loss of a convex problem is finite
        self.weight_decay = self.trials[best]["weight decay"]


def _solve(
    inputs: Tensor,
    target: Tensor,
    *,
    targets: Targets,
    spectrum: Tensor,
    decays: Sequence[float],
    effort: Effort,
) -> Tensor:
    """Fit one head per weight decay, all at once: (n, R), encoded target -> (G, R + 1, C)."""
    if targets.task == "values":
        return fit_ridge(inputs, target, decays=decays)
    is_one_of = targets.task == "classes"
    table = F.one_hot(target, targets.outputs).float() if is_one_of else target
    return fit_logistic(inputs, table, spectrum=spectrum, decays=decays, effort=effort, is_one_of=is_one_of)
