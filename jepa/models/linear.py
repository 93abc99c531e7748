"""Linear layers that keep less for their backward pass, and multiply with `jepa.runtime.products`."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from jepa.runtime.products import is_plain, product

Cheap = Callable[..., Tensor]
"""Maps tensors to one, in a time that does not count beside a matrix product, and always alike."""


class Linear(nn.Linear):
    """`torch.nn.Linear`: the same weights, the same numbers to rounding, the same gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """Transform the last dimension: (..., K) -> (..., N)."""
        return self.after(_identity, x)

    def after(self, prepare: Cheap, *inputs: Tensor) -> Tensor:
        """Return ``self(prepare(*inputs))``, with ``inputs`` alone kept for the backward pass, which prepares again.

        Under autocast, or where a graph is compiled or exported, this is what it says: compilers choose themselves
        what to keep.
        """
        eager = is_plain(inputs[0]) and is_plain(self.weight)
        if not eager or torch.is_autocast_enabled(inputs[0].device.type):
            return F.linear(prepare(*inputs), self.weight, self.bias)
        if not torch.is_grad_enabled():
            return product(prepare(*inputs), self.weight, self.bias)
        out: Tensor = _Prepared.apply(prepare, self.weight, self.bias, *inputs)
        return out

    def normed(self, x: Tensor, norm: nn.LayerNorm | None) -> Tensor:
        """Return ``self(norm(x))``, without the normalised tokens being kept: (..., K) -> (..., N)."""
        if norm is None:
            return self(x)
        normalise = partial(_normalise, norm.normalized_shape, norm.eps)
        affine = [] if norm.weight is None else [norm.weight, norm.bias]
        return self.after(normalise, x, *affine)


def _normalise(shape: tuple[int, ...], eps: float, x: Tensor, *affine: Tensor) -> Tensor:
    weight, bias = affine or (None, None)
    return F.layer_norm(x, shape, weight, bias, eps)


def _identity(x: Tensor) -> Tensor:
    return x


class _Prepared(torch.autograd.Function):
    """``prepare`` and a linear layer, of which the backward pass sees the inputs and the weight."""

    @staticmethod
    def forward(ctx: Any, prepare: Cheap, weight: Tensor, bias: Tensor | None, *inputs: Tensor) -> Tensor:
        ctx.prepare = prepare
        ctx.save_for_backward(weight, *inputs)
        return product(prepare(*inputs), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *inputs = ctx.saved_tensors
        _, for_weight, for_bias, *for_inputs = ctx.needs_input_grad
        with torch.enable_grad():
            leaves = [one.detach().requires_grad_(need) for one, need in zip(inputs, for_inputs, strict=True)]
            x = ctx.prepare(*leaves)
        rows = grad.flatten(0, -2)  # (R, N)
        found: Iterator[Tensor] = iter(())
        if any(for_inputs):
            d_x = product(grad, weight.T)
            wanted = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter((d_x,) if x is leaves[0] else torch.autograd.grad(x, wanted, d_x))
        return (
            None,
            product(rows.T, x.detach().flatten(0, -2).T) if for_weight else None,
            rows.sum(0) if for_bias else None,
            *(next(found) if need else None for need in for_inputs),
        )
