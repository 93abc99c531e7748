"""Cut a training set in two by group, so that clips of one video never stand on both sides."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.metrics import number_groups
from jepa.runtime.seeding import generator

DRAWS = 50


def split_by_group(
    target: Tensor, groups: Sequence[str] | None, *, fraction: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the sample indices to fit on and to validate on: (n,) long or (n, S) float -> (n - m,), (m,) long.

    Of several random cuts, the one whose two sides are most alike is taken: in the share of each class where
    ``target`` holds class indices, else in the mean of each column (labels of 0 and 1, standardised numbers).
    Without ``groups`` every sample is its own group. Raises DataError when there are too few groups, and when
    no cut leaves two classes to fit on.
    """
    member, names = number_groups(groups, len(target))
    if names < 2 or len(target) < 4:
        raise DataError(
            f"{len(target)} samples in {names} groups are too few to choose a weight decay or learning rate on "
            "a part; give at least 4 samples from 2 videos, or a single setting"
        )
    sizes = torch.bincount(member, minlength=names).float()
    share = _sums(member, target, names)
    draw = generator(seed, "probe split")
    best, worst_gap = None, float("inf")
    for _ in range(DRAWS):
        order = torch.randperm(names, generator=draw)
        held = _fill(order, sizes, fraction * len(target))
        inside, outside = share[held].sum(dim=0), share[~held].sum(dim=0)
        gap = float((inside / sizes[held].sum() - outside / sizes[~held].sum()).abs().sum())
        can_be_fitted = target.ndim > 1 or int((outside > 0).sum()) > 1
        if can_be_fitted and gap < worst_gap:
            best, worst_gap = held, gap
    if best is None:
        raise DataError(
            f"none of {DRAWS} cuts by group leaves two classes to fit on; "
            "give more videos, each class in several"
        )
    is_held = best[member]
    return (~is_held).nonzero().flatten(), is_held.nonzero().flatten()


def _sums(member: Tensor, target: Tensor, names: int) -> Tensor:
    """Sum each group's targets, class indices as counts: (n,), (n,) long or (n, S) float -> (names, S)."""
    if target.ndim > 1:
        return torch.zeros(names, target.shape[1]).index_add_(0, member, target.float())
    counts = torch.zeros(names, int(target.max()) + 1)
    return counts.index_put_((member, target), torch.ones(len(target)), accumulate=True)


def _fill(order: Tensor, sizes: Tensor, wanted: float) -> Tensor:
    """Mark groups, in ``order``, until they hold ``wanted`` samples; each side keeps one at least."""
    reached = sizes[order].cumsum(0)
    count = int((reached < wanted).sum()) + 1
    held = torch.zeros(len(order), dtype=torch.bool)
    held[order[: min(count, len(order) - 1)]] = True
    return held
