"""Attention of one query per head to a handful of keys: planning with one token per frame does little else."""

import torch
from torch import Tensor

from jepa.runtime.products import is_plain

FEW = 8  # keys; with more, torch's own attention is as fast


def takes_few(q: Tensor, k: Tensor) -> bool:
    """Whether `attend_few` is the faster way: a matter of shapes, dtype and device, never of timing."""
    few = is_plain(q) and q.shape[-2] == 1 and k.shape[-2] <= FEW
    return few and q.device.type == "cpu" and q.dtype == torch.float32


def attend_few(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return what scaled dot-product attention returns: (B, h, 1, d), (B, h, M, d) twice -> (B, h, 1, d).

    torch multiplies two small matrices for each sample and head; here all of them are passes over whole tensors.
    """
    if k.shape[-2] == 1:
        return v  # the only key gets all of the weight
    scores = (q * k).sum(-1, keepdim=True) * q.shape[-1] ** -0.5  # (B, h, M, 1)
    return (scores.softmax(-2) * v).sum(-2, keepdim=True)
