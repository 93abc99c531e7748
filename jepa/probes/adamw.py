"""AdamW for many heads at once, each with its own learning rate and weight decay."""

from collections.abc import Sequence

import torch
from torch import Tensor


class StackedAdamW:
    """AdamW (arXiv:1711.05101, algorithm 2) on weights (G, ...), with a learning rate and decay per head.

    The update of Adam does not depend on the unit of the loss, so a head with learning rate r takes the steps of a
    head with rate 1 whose weights are counted in units of r. Counted so, all heads share one rate, and one fused
    pass over memory updates them all. Matrices decay; vectors (biases, norms, the query) do not.
    """

    def __init__(self, weights: Sequence[Tensor], *, learning_rates: Tensor, weight_decays: Tensor) -> None:
        """Take over ``weights``, leaves that require a gradient; rates and decays are (G,)."""
        self.weights = list(weights)
        self.rates = [_per_head(learning_rates, weight) for weight in self.weights]
        self.decays = [_per_head(learning_rates * weight_decays, weight) for weight in self.weights]
        self.counted = [weight.detach() / rate for weight, rate in zip(self.weights, self.rates, strict=True)]
        self.adam = torch.optim.AdamW(self.counted, lr=1.0, weight_decay=0.0, fused=True)

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Update from the weights' gradients, which are used up; ``scale`` multiplies every learning rate."""
        for counted, weight, decay in zip(self.counted, self.weights, self.decays, strict=True):
            if weight.ndim > 2:  # a matrix per head
                counted.mul_(1 - scale * decay)
            counted.grad, weight.grad = weight.grad, None
        self.adam.param_groups[0]["lr"] = scale
        self.adam.step()
        for counted, weight, rate in zip(self.counted, self.weights, self.rates, strict=True):
            torch.mul(counted, rate, out=weight)
            counted.grad = None


def _per_head(numbers: Tensor, weight: Tensor) -> Tensor:
    """Shape one number per head to multiply its weights: (G,), (G, ...) -> (G, 1, ...)."""
    return numbers.to(weight).view(-1, *[1] * (weight.ndim - 1))
