"""How well a head answered, with intervals that know that clips of one video are not independent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.runtime.seeding import generator

Task = Literal["classes", "labels", "values"]  # one label each; several labels at once; numbers

ACCURACY, BALANCED, TOP5, RECALL5 = "accuracy", "balanced accuracy", "top-5", "mean-class recall@5"
MAP, R2, MAE = "mAP", "R2", "MAE"
PRIMARY: dict[Task, str] = {"classes": ACCURACY, "labels": MAP, "values": R2}
HIGHER_IS_BETTER: dict[str, bool] = {
    name: name != MAE for name in (ACCURACY, BALANCED, TOP5, RECALL5, MAP, R2, MAE)
}
TAILS = (0.025, 0.975)  # what a 95% interval leaves out on each side
WEIGHTS_AT_ONCE = 2**24  # samples times draws held in memory

Statistics = Callable[[Tensor], dict[str, Tensor]]  # sample weights (n, R) -> one (R,) per measure


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured value and its 95% percentile bootstrap interval."""

    value: float
    low: float  # NaN where there is a single group: one video says nothing about others
    high: float


def primary(task: Task) -> str:
    """Return the measure that ``task`` is chosen and reported by."""
    return PRIMARY[task]


def measure(
    task: Task,
    scores: Tensor,
    truth: Tensor,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> dict[str, Measure]:
    """Return every measure of ``task`` by name, each with a 95% interval.

    classes: (n, C) scores of any monotone kind, (n,) class indices in [0, C). labels: (n, C) scores, (n, C) of 0
    and 1. values: (n, K) predictions, (n, K) numbers. The interval resamples ``groups`` (videos) with
    replacement, or samples without them (Efron & Tibshirani, An Introduction to the Bootstrap, chapter 13).

    Accuracies and recalls are shares; a class that does not occur, in the truth or in a draw, takes no part in a
    mean over classes. Mean-class recall@5 is the measure of EPIC-KITCHENS-100 anticipation (arXiv:2006.13256,
    section 4.3); it and top-5 are there when C > 5. mAP is the mean over classes of average precision without
    interpolation. R2 and MAE are means over the K numbers. Raises DataError when shapes or values do not fit.
    """
    scores, truth = scores.detach().cpu(), truth.detach().cpu()
    statistics = _statistics(task, scores, truth)
    member, count = number_groups(groups, len(scores))
    values = {name: float(found[0]) for name, found in statistics(torch.ones(len(scores), 1)).items()}
    draw, drawn = generator(seed, "bootstrap"), []
    for size in _portions(draws, max(1, WEIGHTS_AT_ONCE // len(scores))):
        picks = torch.randint(0, count, (count, size), generator=draw)
        times = torch.zeros(count, size).scatter_add_(0, picks, torch.ones(count, size))
        drawn.append(statistics(times[member]))
    found = {}
    for name, value in values.items():
        spread = torch.cat([part[name] for part in drawn]).double()
        low, high = spread.nanquantile(torch.tensor(TAILS, dtype=torch.double)).tolist()
        found[name] = Measure(value, low, high) if count > 1 else Measure(value, float("nan"), float("nan"))
    return found


def headline(task: Task, scores: Tensor, truth: Tensor) -> float:
    """Return the primary measure alone, without an interval; arguments as for ``measure``."""
    scores, truth = scores.detach().cpu(), truth.detach().cpu()
    return float(_statistics(task, scores, truth)(torch.ones(len(scores), 1))[PRIMARY[task]][0])


def confusion(target: Tensor, answer: Tensor, classes: int) -> Tensor:
    """Count pairs of class indices: (n,), (n,) long -> (C, C) long, a row per true class."""
    return torch.bincount(target * classes + answer, minlength=classes**2).view(classes, classes)


def pool_scores(scores: Tensor, entry: Tensor) -> tuple[Tensor, Tensor]:
    """Average the answers to clips and views of one video: (m, C), (m,) long -> (E, C), (E,) entry numbers.

    Rows come in ascending order of entry number. Raises DataError when lengths differ.
    """
    if scores.ndim != 2 or entry.shape != scores.shape[:1]:
        raise DataError(
            f"scores must be (clips, classes) and entry one number per clip, got {tuple(scores.shape)} "
            f"and {tuple(entry.shape)}"
        )
    order, index = torch.unique(entry, return_inverse=True)
    total = torch.zeros(len(order), scores.shape[1], dtype=scores.dtype, device=scores.device)
    total.index_add_(0, index, scores)
    return total / torch.bincount(index)[:, None].to(scores.dtype), order


def number_groups(groups: Sequence[str] | None, samples: int) -> tuple[Tensor, int]:
    """Number groups in order of first appearance: (n,) long, and how many there are; without any, one per sample.

    Raises DataError when the count differs from ``samples``.
    """
    if groups is None:
        return torch.arange(samples), samples
    if len(groups) != samples:
        raise DataError(f"{samples} samples need {samples} groups, got {len(groups)}")
    number = {name: index for index, name in enumerate(dict.fromkeys(groups))}
    return torch.tensor([number[name] for name in groups]), len(number)


def _portions(total: int, most: int) -> list[int]:
    """Cut ``total`` draws into portions of ``most``."""
    return [min(most, total - start) for start in range(0, total, most)]


def _statistics(task: Task, scores: Tensor, truth: Tensor) -> Statistics:
    """Check one task's answers and prepare what all draws share."""
    wanted = scores.shape[:1] if task == "classes" else scores.shape
    if scores.ndim != 2 or 0 in scores.shape or truth.shape != wanted:
        raise DataError(
            f"{task}: scores must be (samples, outputs), not empty, and truth "
            f"{'one class each' if task == 'classes' else 'of the same shape'}, got {tuple(scores.shape)} "
            f"and {tuple(truth.shape)}"
        )
    if not torch.isfinite(scores).all():
        bad = int((~torch.isfinite(scores)).any(dim=1).sum())
        raise DataError(
            f"{task}: {bad} of {len(scores)} answers hold NaN or infinity; look at the head's weights"
        )
    if task == "classes":
        return _of_classes(scores, truth.long())
    return _of_labels(scores, truth) if task == "labels" else _of_values(scores.double(), truth.double())


def _of_classes(scores: Tensor, truth: Tensor) -> Statistics:
    """Prepare accuracies and recalls of single labels."""
    classes = scores.shape[1]
    if int(truth.min()) < 0 or int(truth.max()) >= classes:
        raise DataError(
            f"classes: truth runs from {int(truth.min())} to {int(truth.max())}, but scores are of classes 0 "
            f"to {classes - 1}; give class indices, and leave samples without a label out"
        )
    best = scores.topk(min(5, classes), dim=1).indices  # (n, 5), the highest first
    right = (best[:, :1] == truth[:, None]).float()  # (n, 1)
    near = (best == truth[:, None]).any(dim=1, keepdim=True).float()

    def statistics(weights: Tensor) -> dict[str, Tensor]:
        total = _by_class(weights, truth, classes)  # (C, R)

        def recall(hit: Tensor) -> Tensor:
            return (_by_class(weights * hit, truth, classes) / total).nanmean(dim=0)  # 0 / 0: class not there

        found = {ACCURACY: _share(weights, right), BALANCED: recall(right)}
        return found | ({TOP5: _share(weights, near), RECALL5: recall(near)} if classes > 5 else {})

    return statistics


def _share(weights: Tensor, hit: Tensor) -> Tensor:
    """Return the weighted share of hits: (n, R), (n, 1) -> (R,)."""
    return (weights * hit).sum(dim=0).double() / weights.sum(dim=0).double()


def _by_class(weights: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Sum the weights of each class's samples: (n, R), (n,) -> (C, R)."""
    return torch.zeros(classes, weights.shape[1]).index_add_(0, truth, weights)


def _of_labels(scores: Tensor, truth: Tensor) -> Statistics:
    """Prepare mean average precision of several labels at once."""
    is_positive = truth == 1
    if not (is_positive | (truth == 0)).all():
        raise DataError(f"labels: truth must be 0 or 1, got values such as {_odd(truth)}")
    shown = [int(c) for c in is_positive.any(dim=0).nonzero()]
    if not shown:
        raise DataError("labels: no sample has any label; average precision needs a positive")
    steps = [_thresholds(scores[:, c], is_positive[:, c]) for c in shown]

    def statistics(weights: Tensor) -> dict[str, Tensor]:
        found = [
            _average_precision(weights, is_positive[:, c], *step)
            for c, step in zip(shown, steps, strict=True)
        ]
        return {MAP: torch.stack(found).nanmean(dim=0)}  # NaN where a draw holds no positive of the class

    return statistics


def _odd(truth: Tensor) -> float:
    """Return a value that is neither 0 nor 1."""
    return float(truth[(truth != 0) & (truth != 1)][0])


def _thresholds(score: Tensor, is_positive: Tensor) -> tuple[Tensor, int]:
    """Return, for each sample, at which distinct score of a positive (the highest first) it is first counted."""
    score = score.contiguous()
    levels = torch.unique(score[is_positive])  # ascending
    above = torch.searchsorted(levels, score, right=True)  # levels at or below the sample
    return len(levels) - above, len(levels)  # == len(levels): below all positives, never counted


def _average_precision(weights: Tensor, is_positive: Tensor, step: Tensor, steps: int) -> Tensor:
    """Average the precision at each positive, ties counted together: (n, R) -> (R,)."""
    own = torch.zeros(steps, weights.shape[1]).index_add_(0, step[is_positive], weights[is_positive])
    counted = step < steps
    every = torch.zeros_like(own).index_add_(0, step[counted], weights[counted])
    precision = own.cumsum(dim=0) / every.cumsum(dim=0).clamp_min(1)  # weights are counts: < 1 is none
    return (own * precision).sum(dim=0) / own.sum(dim=0)


def _of_values(scores: Tensor, truth: Tensor) -> Statistics:
    """Prepare R2 and mean absolute error of numbers."""
    if not torch.isfinite(truth).all():
        raise DataError(
            f"values: {int((~torch.isfinite(truth)).any(dim=1).sum())} of {len(truth)} samples have no finite "
            "truth; leave them out"
        )
    centred = truth - truth.mean(dim=0)  # so that sums of squares do not lose digits to a large mean
    error, least = scores - truth, 1e-9 * centred.square().mean(dim=0)  # a draw of equal truths has no R2

    def statistics(weights: Tensor) -> dict[str, Tensor]:
        times = weights.double().T / weights.double().sum(dim=0)[:, None]  # (R, n), each row sums to one
        variance = times @ centred.square() - (times @ centred).square()  # (R, K)
        explained = 1 - (times @ error.square()) / variance.where(variance > least, torch.nan)
        return {R2: explained.mean(dim=1), MAE: (times @ error.abs()).mean(dim=1)}

    return statistics
