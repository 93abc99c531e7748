"""What a step costs, counted from shapes before anything runs: parameters, FLOPs, memory."""

from dataclasses import dataclass
from typing import Self

from torch import nn

STATISTICS = 2 * 4  # bytes: mean and deviation, in float32, that a norm keeps per token


@dataclass(frozen=True)
class NumberBytes:
    """Bytes of one number of the forward pass, by what it is for."""

    product: int
    """What enters and leaves matrix products, and the residual path."""
    norm: int
    """A norm's input, as it is kept: on GPUs autocast norms in float32, from a copy of its own."""
    copies: bool
    """Whether products take bfloat16 copies of float32 weights and tables."""

    @classmethod
    def of(cls, dtype: str, *, gpu: bool) -> Self:
        """Return those of training in ``dtype`` (float32 or bfloat16) under autocast."""
        if dtype == "float32":
            return cls(4, 4, False)
        return cls(2, 4 if gpu else 2, True)


@dataclass(frozen=True)
class Stack:
    """A transformer stack and how many tokens one sample sends through it. FLOPs and bytes are of one sample."""

    width: int
    depth: int
    heads: int
    mlp_ratio: float
    tokens: int
    rotary: bool = True

    @property
    def hidden(self) -> int:
        """Width inside the MLP."""
        return round(self.width * self.mlp_ratio)

    @property
    def linear_flops(self) -> int:
        """FLOPs of the forward pass in linear layers: 2 per multiply-add."""
        return self.depth * 2 * self.tokens * self.width * (4 * self.width + 2 * self.hidden)

    @property
    def attention_flops(self) -> int:
        """FLOPs of the forward pass in the two products of attention."""
        return self.depth * 4 * self.tokens * self.tokens * self.width

    @property
    def flops(self) -> int:
        """FLOPs of the forward pass."""
        return self.linear_flops + self.attention_flops

    @property
    def backward_flops(self) -> int:
        """FLOPs of the backward pass as run: fused attention computes its scores again, five products for two."""
        return 2 * self.linear_flops + 5 * self.attention_flops // 2

    def recomputed_flops(self, *, last: bool) -> int:
        """FLOPs that activation checkpointing adds: all forward again, each block's last product only if ``last``.

        torch stops when all that was kept is there again; `jepa.models.linear` hands it over after its product.
        """
        return self.flops - (0 if last else self.depth * 2 * self.tokens * self.width * self.hidden)

    def block_bytes(self, number: NumberBytes) -> int:
        """Bytes that the forward pass of one block keeps for its backward pass.

        Per token: the inputs of two norms; queries, keys and values; what attention gives, with one number per head of
        its own; the MLP before its GELU. Under autocast also the outputs of the norms, in the precision of the linear
        layers that they enter, with the statistics of the norms, and the MLP after its GELU; else these are computed
        again (`jepa.models.linear`).
        """
        kept = (3 + 1) * self.width + self.hidden
        if not number.copies:
            return self.tokens * (kept * number.product + 2 * self.width * number.norm + 4 * self.heads)
        kept += 2 * self.width + self.hidden
        # Where tables are copied to bfloat16, every block keeps its own: cosines and sines.
        tables = 2 * self.table * number.product
        norms = 2 * self.width * number.norm + 2 * STATISTICS
        return self.tokens * (kept * number.product + tables + norms + 4 * self.heads)

    @property
    def table(self) -> int:
        """Numbers per token of the table of rotary positions."""
        return self.width // self.heads if self.rotary else 0

    def input_bytes(self, number: NumberBytes) -> int:
        """Bytes of what enters one block, which is all that activation checkpointing keeps of it."""
        return self.tokens * self.width * number.product

    def kept_bytes(self, number: NumberBytes, *, recompute: bool) -> int:
        """Bytes that the whole stack keeps; with ``recompute``, of one block only what enters it."""
        tables = (
            (1 if not number.copies else 2) * self.table * self.tokens * 4
        )  # one in float32 for all blocks
        each = self.input_bytes(number) if recompute else self.block_bytes(number)
        return self.depth * each + (tables if recompute or not number.copies else 0)

    def passing_bytes(self, number: NumberBytes) -> int:
        """Bytes that come and go in the backward pass of one block: gradients around its GELU, and of its input."""
        return self.tokens * 2 * (self.hidden + self.width) * number.product


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
