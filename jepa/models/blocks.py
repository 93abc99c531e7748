"""The pre-norm transformer block that encoder and predictor are made of."""

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa.models.activations import gelu, overwrites
from jepa.models.few_keys import attend_few, takes_few
from jepa.models.linear import Linear
from jepa.models.rotary import Rotary, rotate
from jepa.runtime.seeding import rand_per_sample

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention over the tokens it is given; their order does not matter, their positions do."""

    def __init__(
        self, width: int, heads: int, dropout: float = 0.0, *, head_width: int | None = None
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        inner = width if head_width is None else heads * head_width
        self.qkv = Linear(width, 3 * inner)
        self.proj = Linear(inner, width)

    def forward(self, x: Tensor, table: Rotary | None, norm: nn.LayerNorm | None = None) -> Tensor:
        """Mix tokens, behind ``norm`` if it is given: (B, N, D) -> (B, N, D)."""
        return self.mix(*self.project(x, table, norm))

    def project(
        self, x: Tensor, table: Rotary | None, norm: nn.LayerNorm | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of the tokens, (B, N, D) -> each (B, h, N, D / h)."""
        parts = self.qkv.normed(x, norm).reshape(*x.shape[:-1], 3, self.heads, -1)  # (B, N, 3, h, D / h)
        if table is None:
            q, k, v = parts.unbind(2)
        else:
            qk, v = torch.split(parts, [2, 1], dim=2)
            q, k = rotate(qk, table).unbind(2)
            # A copy, where a backward pass would else keep all of `parts` for the values alone.
            v = v.squeeze(2).contiguous() if torch.is_grad_enabled() else v.squeeze(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let N queries attend to M keys where ``mask``, (N, M) bool, is true: (B, h, N, D / h) -> (B, N, D)."""
        dropout = self.dropout if self.training else 0.0
        if mask is None and not dropout and takes_few(q, k):
            mixed = attend_few(q, k, v)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return F.dropout(self.proj(mixed.transpose(1, 2).flatten(2)), self.dropout, self.training)


class MLP(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, x: Tensor, norm: nn.LayerNorm | None = None) -> Tensor:
        """Transform each token alone, behind ``norm`` if it is given."""
        hidden = self.fc1.normed(x, norm)
        if self.training and self.dropout:
            hidden = F.dropout(F.gelu(hidden), self.dropout)
            return F.dropout(self.fc2(hidden), self.dropout)
        return self.fc2(gelu(hidden)) if overwrites(hidden) else self.fc2.after(F.gelu, hidden)


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and beside a residual path."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, round(width * mlp_ratio))
        self.drop_path = drop_path

    def forward(self, x: Tensor, table: Rotary | None) -> Tensor:
        """Update tokens: (B, N, D) -> (B, N, D)."""
        x = x + self._drop(self.attn(x, table, self.norm1))
        return x + self._drop(self.mlp(x, self.norm2))

    def _drop(self, branch: Tensor) -> Tensor:
        """Drop the branch for whole samples, keeping its expectation (stochastic depth, arXiv:1603.09382)."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        alive = rand_per_sample(len(branch), branch.device).view(-1, 1, 1) < keep
        return branch * (alive / keep).to(branch.dtype)


class Blocks(nn.ModuleList):
    """A stack of blocks that shares one rotary table and may recompute its activations."""

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        recompute: bool = False,
    ) -> None:
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        super().__init__(Block(width, heads, mlp_ratio, rate) for rate in rates)
        self.recompute = recompute

    def forward(self, x: Tensor, table: Rotary | None) -> Tensor:
        """Run all blocks: (B, N, D) -> (B, N, D)."""
        return self.outputs(x, table, (len(self) - 1,))[0]

    def outputs(self, x: Tensor, table: Rotary | None, layers: Collection[int]) -> list[Tensor]:
        """Run all blocks and return what those at ``layers``, counted from 0, gave: (B, N, D) -> each (B, N, D)."""
        found = []
        for layer, block in enumerate(self):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, table, use_reentrant=False)
            else:
                x = block(x, table)
            if layer in layers:
                found.append(x)
        return found


def init_weights(module: nn.Module) -> None:
    """Draw linear and patch weights from a truncated normal of sd .02, biases 0, as V-JEPA does.

    In a stack, the last projections of layer i (from 1) are divided by sqrt(2 i), so that the residual
    stream does not grow with depth.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    with torch.no_grad():
        for stack in (part for part in module.modules() if isinstance(part, Blocks)):
            for layer, block in enumerate(stack, start=1):
                assert isinstance(block, Block)
                shrink(block.attn, block.mlp, layer)


def shrink(attn: Attention, mlp: MLP, layer: int) -> None:
    """Divide the last projections of ``layer``, counted from 1, by sqrt(2 layer), in place."""
    attn.proj.weight.div_(math.sqrt(2 * layer))
    mlp.fc2.weight.div_(math.sqrt(2 * layer))
