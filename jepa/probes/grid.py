"""Heads trained by AdamW: a grid of learning rates and weight decays at once, of which the best is kept."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import ClassVar, Self

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.metrics import Task
from jepa.probes.rows import Rows, check_rows
from jepa.probes.split import split_by_group
from jepa.probes.targets import Targets, best_trial, learn_targets
from jepa.probes.training import Network, Point, Recipe, Samples, Trained, Weights, answer, train

# V-JEPA 2 (arXiv:2506.09985), appendix on frozen evaluation.
LEARNING_RATES, WEIGHT_DECAYS = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4), (0.01, 0.1, 0.4, 0.8)


@dataclass(kw_only=True, eq=False)
class GridProbe(ABC):
    """Fit one head per learning rate and weight decay, choose on a part of training, fit the chosen one on all.

    All heads start alike, see the same batches and are trained as one computation; a head alone would give the
    same answers up to rounding. The choice is by validation score after the last epoch. Test samples take no
    part in it. Equal seeds give equal heads.
    """

    learning_rates: Sequence[float] = LEARNING_RATES
    """Peaks, each reached after a tenth of the steps and brought to 0 on a cosine."""
    weight_decays: Sequence[float] = WEIGHT_DECAYS
    """Decoupled, on matrices only."""
    epochs: int = 20
    batch_size: int = 128
    task: Task = "classes"
    seed: int = 0
    """Draws the validation part, the initial weights and the batches."""
    validation_fraction: float = 0.2
    dtype: str = "float32"
    """Of the forward pass, float32 or bfloat16; weights and optimizer are float32."""
    device: torch.device | str = "cpu"
    refit: bool = True
    """Fit the chosen head again on all training samples, the validation part included."""

    targets: Targets = field(init=False, repr=False)
    network: Network = field(init=False, repr=False)
    weights: Weights = field(init=False, repr=False)  # (1, ...) of the chosen head
    classes: tuple[int, ...] = field(init=False, repr=False)
    """The labels as given to fit, in the order of the outputs; none for values."""
    chosen: dict[str, float] = field(init=False, repr=False)
    """Learning rate and weight decay of the head that answers."""
    trials: list[dict[str, float]] = field(init=False, repr=False)
    """Each head of the grid, with its validation score and loss where a choice was made; NaN where it diverged."""
    history: list[dict[str, list[float]]] = field(init=False, repr=False)
    """Per epoch, over the heads in the order of ``trials``: training loss, and validation score and loss."""

    _seen: tuple[int, ...] | None = field(init=False, repr=False, default=None)
    form: ClassVar[str]  # of the features, in words

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be."""
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(
                f"learning_rates must be positive and not empty, got {list(self.learning_rates)}"
            )
        if not self.weight_decays or min(self.weight_decays) < 0:
            raise ValueError(f"weight_decays must be 0 or more and not empty, got {list(self.weight_decays)}")
        if min(self.epochs, self.batch_size) < 1:
            raise ValueError(
                f"epochs and batch_size must be 1 or more, got {self.epochs} and {self.batch_size}"
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype must be float32 or bfloat16, got {self.dtype!r}")

    @abstractmethod
    def _shape(self) -> tuple[int | None, ...]:
        """Return the shape of one sample, None where any size will do."""

    @abstractmethod
    def _build(self, samples: Samples, outputs: int) -> Network:
        """Return the heads' arithmetic, fitted to the features of ``samples``."""

    def fit(
        self,
        features: Rows,
        labels: Tensor,
        groups: Sequence[str] | None = None,
        *,
        validation: tuple[Rows, Tensor] | None = None,
    ) -> Self:
        """Train the grid, choose, and train the chosen head on all samples.

        ``features`` may be a file mapped into memory: only minibatches are read. Labels are as ``learn_targets``
        reads them. Samples of one group (the clips of one video) never stand on both sides of the split that
        chooses; with ``validation``, features and labels, nothing is split. Raises DataError for features and
        labels that cannot be used, and when every head diverged.
        """
        self._seen = None
        check_rows(features, self._shape(), "training features", self.form)
        self.targets, target = learn_targets(self.task, labels, len(features))
        self.classes, self._seen = self.targets.classes, tuple(features.shape[1:])
        points = [Point(rate, decay) for rate, decay in product(self.learning_rates, self.weight_decays)]
        everything = Samples(features, target, torch.arange(len(features)))
        fitted, held_out = everything, None
        if validation is not None:
            held_out = self._held_out(*validation)
        elif len(points) > 1:
            inside, outside = split_by_group(
                target, groups, fraction=self.validation_fraction, seed=self.seed
            )
            fitted, held_out = Samples(features, target, inside), Samples(features, target, outside)
        trained = self._train(points, fitted, held_out)
        best = self._choose(points, trained)
        self.weights = {name: weight[best : best + 1].clone() for name, weight in trained.weights.items()}
        if self.refit and len(fitted) < len(everything):
            again = self._train(points[best : best + 1], everything, None)
            _check_finite(points[best : best + 1], again)
            self.weights = again.weights
        return self

    def decision(self, features: Rows) -> Tensor:
        """Return logits, or standardised values: (n, ...) -> (n, C).

        Raises DataError for features that are not finite or of another width than those that were fitted.
        """
        samples = self._samples(features, "test features", torch.zeros(len(features)))
        parts = answer(self.network, self.weights, samples, self._recipe())
        return torch.cat([outputs[0] for outputs in parts])

    def predict(self, features: Rows) -> Tensor:
        """Return labels (n,), 0 and 1 for each label (n, C), or values (n, K)."""
        return self.targets.answers(self.decision(features))

    def predict_proba(self, features: Rows) -> Tensor:
        """Return the probability of each class: (n, C). Raises ValueError for values."""
        return self.targets.probabilities(self.decision(features))

    def score(self, features: Rows, labels: Tensor) -> float:
        """Return accuracy, mAP or R2. Raises DataError as ``fit`` does, and for labels unseen in training."""
        return self.targets.score(self.decision(features), labels)

    def _recipe(self) -> Recipe:
        """Return what the training needs to know of the settings."""
        return Recipe(self.epochs, self.batch_size, self.seed, self.dtype, torch.device(self.device))

    def _samples(self, features: Rows, what: str, target: Tensor) -> Samples:
        """Check features against those that were fitted."""
        check_rows(features, self._shape(), what, self.form)
        return Samples(features, target, torch.arange(len(features)))

    def _held_out(self, features: Rows, labels: Tensor) -> Samples:
        """Check a validation part that was given."""
        return self._samples(features, "validation features", self.targets.encode(labels, len(features)))

    def _train(self, points: Sequence[Point], fitted: Samples, held_out: Samples | None) -> Trained:
        """Build the network for ``fitted`` and train one head per point."""
        self.network = self._build(fitted, self.targets.outputs)
        return train(
            self.network, self.targets, points, fitted=fitted, held_out=held_out, recipe=self._recipe()
        )

    def _choose(self, points: Sequence[Point], trained: Trained) -> int:
        """Record the trials and return the best head's number; raises DataError when every head diverged."""
        self.history, last = trained.history, trained.history[-1]
        self.trials = []
        for number, point in enumerate(points):
            is_whole = all(math.isfinite(epoch["training loss"][number]) for epoch in self.history)
            found = {
                name: last[name][number] if is_whole else math.nan
                for name in ("score", "loss")
                if name in last
            }
            self.trials.append(_settings(point) | found)
        best: int | None = 0
        if "loss" in last:
            best = best_trial(self.trials)
        else:
            _check_finite(points, trained)
        if best is None:
            raise _diverged(points)
        self.chosen = _settings(points[best])
        return best


def _settings(point: Point) -> dict[str, float]:
    """Name the settings of a point."""
    return {"learning rate": point.learning_rate, "weight decay": point.weight_decay}


def _check_finite(points: Sequence[Point], trained: Trained) -> None:
    """Refuse a head whose loss did not stay finite; raises DataError."""
    if not all(math.isfinite(epoch["training loss"][0]) for epoch in trained.history):
        raise _diverged(points)


def _diverged(points: Sequence[Point]) -> DataError:
    """Say that no head can be used."""
    rates = sorted({point.learning_rate for point in points}, reverse=True)
    many = "the head" if len(points) == 1 else f"all {len(points)} heads"
    return DataError(
        f"{many} diverged: no loss stayed finite with learning rates {', '.join(f'{rate:g}' for rate in rates)}; "
        "lower learning_rates, and look at the size of the features"
    )
