"""GELU in place: without gradients, what a layer hands on is written over instead of copied."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.runtime.products import is_plain


def overwrites(x: Tensor) -> bool:
    """Whether `gelu` may write over ``x``: no gradient is wanted, and nothing is compiled or exported."""
    return not torch.is_grad_enabled() and is_plain(x)


def gelu(x: Tensor) -> Tensor:
    """Return GELU of a tensor that nobody else reads, over itself where `overwrites` says so: any shape."""
    if overwrites(x):
        out: Tensor = torch.ops.aten.gelu_(x)
        return out
    return F.gelu(x)


class GELU(nn.GELU):
    """`torch.nn.GELU` behind a layer whose output nobody else reads."""

    def forward(self, x: Tensor) -> Tensor:
        """Transform each number."""
        return gelu(x)
