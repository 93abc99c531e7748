"""What every probe asks of its input, with one message per mistake."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jepa.errors import DataError


def check_features(features: Tensor, what: str) -> None:
    """Refuse features that are not a finite (n, D) table with n > 0; raises DataError."""
    if features.ndim != 2 or 0 in features.shape:
        raise DataError(f"{what} must be (samples, width) and not empty, got {tuple(features.shape)}")
    if torch.isfinite(features.sum()):  # one pass; a sum of finite numbers that overflows is looked at again
        return
    bad = (~torch.isfinite(features)).any(dim=1).nonzero().flatten()
    if len(bad):
        raise DataError(
            f"{what}: {len(bad)} of {len(features)} rows hold NaN or infinity, first row {int(bad[0])}; "
            "look at the encoder's weights and at that clip"
        )


def check_width(features: Tensor, width: int, what: str) -> None:
    """Refuse features of another width than those that were fitted; raises DataError."""
    if features.shape[1] != width:
        raise DataError(
            f"{what} have width {features.shape[1]}, but the probe was fitted on {width}; "
            "give features of the same encoder"
        )


def check_labels(
    labels: Tensor, samples: int, *, known: Sequence[int] | None = None
) -> tuple[tuple[int, ...], Tensor]:
    """Return the classes in order and each label's index among them: (n,) long -> (n,) long.

    Without ``known`` the classes are those that occur. Raises DataError when the count differs from
    ``samples``, when a label is negative (unlabelled), when there is one class only, and when a label is
    not ``known``.
    """
    if labels.shape != (samples,):
        raise DataError(
            f"{samples} samples need {samples} labels in one row, got labels of shape {tuple(labels.shape)}"
        )
    labels = labels.detach().cpu().long()
    unlabelled = int((labels < 0).sum())
    if unlabelled:
        raise DataError(
            f"{unlabelled} of {samples} samples have no label; a probe needs a label for every clip"
        )
    classes = tuple(known) if known is not None else tuple(torch.unique(labels).tolist())
    if len(classes) < 2:
        raise DataError(f"all {samples} training labels are {classes[0]}; a probe needs two classes or more")
    strange = sorted(set(labels.tolist()) - set(classes))
    if strange:
        raise DataError(
            f"test labels {strange} never occur in training, whose labels are {list(classes)}; "
            "give the same classes to both"
        )
    return classes, torch.searchsorted(torch.tensor(classes), labels)
