"""Label-free signs of health: do features of different clips differ, and in how many directions?"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

EPSILON = 1e-7  # RankMe, equation 1


def effective_rank(features: Tensor) -> float:
    """Return RankMe (arXiv:2210.02885, equation 1) of (..., D) features, between 1 and min(n, D).

    It is the exponential of the entropy of the singular values, as shares of their sum. As in the paper
    nothing is centred: a mean that all samples share counts as one direction. Not-a-number when a feature
    is not finite or when there are none.
    """
    values = features.detach().cpu().flatten(0, -2).double()
    if values.numel() == 0 or not torch.isfinite(values).all():
        return float("nan")
    # The eigenvalues of the smaller Gram matrix are the squared singular values. Double precision matters: in
    # single, rounding alone gives each empty direction about 3e-4 of the largest singular value.
    gram = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    shares = singular / singular.sum().clamp_min(1e-30) + EPSILON
    return float(torch.exp(-(shares * shares.log()).sum()).clamp_min(1))


def collapse_warning(signals: Mapping[str, float], width: int) -> str | None:
    """Say in plain words that features collapse, with the values that show it, or return None.

    Reads ``effective_rank`` (of at most ``width``) and ``target_std`` where they are given. The limits are low on
    purpose: a healthy run stays far above both. Predictions say nothing here: a fresh predictor's are all alike.
    """
    signs = []
    rank, spread = _measured(signals, "effective_rank"), _measured(signals, "target_std")
    if rank is not None and rank < min(2.0 + 0.01 * width, 0.5 * width):
        signs.append(f"effective rank {rank:.1f} of {width}")
    if spread is not None and spread < 0.02:
        signs.append(f"target std {spread:.2g}")
    if not signs:
        return None
    return (
        f"features collapse: {', '.join(signs)}; different clips are given nearly the same features. "
        "Early in a run this can pass. If it lasts: lower optim.learning_rate, lengthen optim.warmup_steps, "
        "move objective.momentum closer to 1, or use objective.kind: lejepa, whose loss forbids it."
    )


def _measured(signals: Mapping[str, float], key: str) -> float | None:
    """Return the signal called ``key`` when it was measured and is a number."""
    value = signals.get(key)
    return None if value is None or math.isnan(value) else float(value)
