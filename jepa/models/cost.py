"""What a step costs, counted from shapes before anything runs: parameters, FLOPs, memory."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Stack:
    """A transformer stack and how many tokens one sample sends through it."""

    width: int
    depth: int
    mlp_ratio: float
    tokens: int
    rotary: bool = True

    @property
    def flops(self) -> int:
        """FLOPs of one sample's forward pass: 2 per multiply-add of the matrix products."""
        linear = 2 * self.tokens * self.width * (4 * self.width + 2 * int(self.width * self.mlp_ratio))
        attention = 4 * self.tokens * self.tokens * self.width
        return self.depth * (linear + attention)

    @property
    def saved_elements(self) -> int:
        """Numbers that one sample's forward pass keeps for the backward pass.

        Per token and block, in widths: both norms' inputs and outputs 4, queries, keys and values 3 and their
        rotated copies 3, the attention's output 1, and the MLP before and after its GELU 2 * mlp_ratio.
        """
        return int(self.depth * self.tokens * self.width * (8 + 3 * self.rotary + 2 * self.mlp_ratio))


@dataclass(frozen=True)
class Parameters:
    """Parameter counts."""

    trained: int
    frozen: int


def count_parameters(module: nn.Module) -> Parameters:
    """Count trained and frozen parameters."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return Parameters(
        sum(n for n, trained in sizes if trained), sum(n for n, trained in sizes if not trained)
    )
