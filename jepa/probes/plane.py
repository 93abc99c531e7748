"""Features in a plane: their first two principal components, in which nothing is fitted to a label."""

import torch
import torch.nn.functional as F
from torch import Tensor


def principal_plane(features: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """Return coordinates along the first two principal components, and the share of variance of each.

    (n, D) float -> (n, 2) double. An axis and its opposite are equally good: the farthest point is made positive.
    Where there are fewer than two components, the missing ones are 0.
    """
    centred = features.detach().cpu().double()
    centred = centred - centred.mean(dim=0)
    samples, width = centred.shape
    if samples <= width:  # the smaller of the two Gram matrices has the same components
        variances, vectors = torch.linalg.eigh(centred @ centred.T)  # ascending
        places = vectors[:, -2:].flip(1) * variances[-2:].flip(0).clamp_min(0).sqrt()  # (n, <= 2)
    else:
        variances, axes = torch.linalg.eigh(centred.T @ centred)
        places = centred @ axes[:, -2:].flip(1)
    places = F.pad(places, (0, 2 - places.shape[1]))
    signs = places.gather(0, places.abs().argmax(dim=0, keepdim=True)).sign()
    total = float(centred.square().sum())
    shares = places.square().sum(dim=0) / total if total else torch.zeros(2)
    return places * signs, (float(shares[0]), float(shares[1]))
