"""Cut a training set in two by group, so that clips of one video never stand on both sides."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.runtime.seeding import generator

DRAWS = 50


def split_by_group(
    target: Tensor, groups: Sequence[str] | None, *, fraction: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the sample indices to fit on and to validate on: class indices (n,) long -> (n - m,), (m,) long.

    Of several random cuts, the one whose two sides have the most equal shares of each class is taken. Without
    ``groups`` every sample is its own group. Raises DataError when no cut leaves two classes to fit on.
    """
    if groups is not None and len(groups) != len(target):
        raise DataError(f"{len(target)} samples need {len(target)} groups, got {len(groups)}")
    names, member = _group_indices(groups, len(target))
    share = torch.zeros(names, int(target.max()) + 1).index_put_(
        (member, target), torch.ones(len(target)), accumulate=True
    )
    if names < 2 or len(target) < 4:
        raise DataError(
            f"{len(target)} samples in {names} groups are too few to choose a weight decay on a part; "
            "give at least 4 samples from 2 videos, or a single weight decay"
        )
    draw = generator(seed, "probe split")
    best, worst_gap = None, float("inf")
    for _ in range(DRAWS):
        order = torch.randperm(names, generator=draw)
        held = _fill(order, share.sum(dim=1), fraction * len(target))
        inside, outside = share[held].sum(dim=0), share[~held].sum(dim=0)
        gap = float((inside / inside.sum() - outside / outside.sum()).abs().sum())
        if int((outside > 0).sum()) > 1 and gap < worst_gap:
            best, worst_gap = held, gap
    if best is None:
        raise DataError(
            f"none of {DRAWS} cuts by group leaves two classes to fit on; "
            "give more videos, each class in several"
        )
    is_held = best[member]
    return (~is_held).nonzero().flatten(), is_held.nonzero().flatten()


def _group_indices(groups: Sequence[str] | None, samples: int) -> tuple[int, Tensor]:
    """Number the groups in order of first appearance: the number of groups, and (n,) long."""
    if groups is None:
        return samples, torch.arange(samples)
    number = {name: index for index, name in enumerate(dict.fromkeys(groups))}
    return len(number), torch.tensor([number[name] for name in groups])


def _fill(order: Tensor, sizes: Tensor, wanted: float) -> Tensor:
    """Mark groups, in ``order``, until they hold ``wanted`` samples; each side keeps one at least."""
    reached = sizes[order].cumsum(0)
    count = int((reached < wanted).sum()) + 1
    held = torch.zeros(len(order), dtype=torch.bool)
    held[order[: min(count, len(order) - 1)]] = True
    return held
