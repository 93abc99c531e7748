"""The transformer block of the dynamics: it hands out its keys and values, so that a rollout can keep them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.models.blocks import MLP, NORM_EPS, Attention
from jepa.models.dynamics.base import KeysValues
from jepa.models.positions import Rotary

MLP_RATIO = 4


class FrameBlock(nn.Module):
    """Pre-norm block over the tokens of several frames."""

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, affine: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=affine)
        self.attn = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=affine)
        self.mlp = MLP(width, MLP_RATIO * width, dropout)

    def forward(
        self,
        x: Tensor,
        table: Rotary,
        condition: Tensor | None,
        *,
        mask: Tensor | None = None,
        past: Sequence[KeysValues] = (),
    ) -> tuple[Tensor, KeysValues]:
        """Update tokens, (R, T, M, W); ``condition``, (R, T, W), is for the subclass.

        ``past`` holds keys and values of earlier frames; they are returned with those of these frames behind them.
        """
        mixed, seen = self.attend(self.norm1(x), table, mask=mask, past=past)
        x = x + mixed
        return x + self.mlp(self.norm2(x)), seen

    def attend(
        self, x: Tensor, table: Rotary, *, mask: Tensor | None, past: Sequence[KeysValues]
    ) -> tuple[Tensor, KeysValues]:
        """Mix the tokens of all frames, (R, T, M, W), and of the ``past``, whose rows may be fewer by a factor."""
        q, k, v = self.attn.project(x.flatten(1, 2), table)  # (R, h, T * M, W / h)
        parts = [*(_repeated(one, len(q)) for one in past), KeysValues(k, v)]
        seen = KeysValues(*(torch.cat(part, dim=-2) for part in zip(*parts, strict=True)))
        return self.attn.mix(q, *seen, mask).reshape(x.shape), seen


class AdaLNBlock(FrameBlock):
    """Block whose norms and branches are scaled by the action (AdaLN-zero: DiT, arXiv:2212.09748, section 3.2).

    The last layer of the modulation is zero at first, so the block starts as the identity.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__(width, heads, dropout=dropout, affine=False)
        self.modulation = nn.Linear(width, 6 * width)

    def reset_modulation(self) -> None:
        """Make the block the identity, in place."""
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Tensor,
        table: Rotary,
        condition: Tensor | None,
        *,
        mask: Tensor | None = None,
        past: Sequence[KeysValues] = (),
    ) -> tuple[Tensor, KeysValues]:
        """Update tokens, (R, T, M, W), given the condition of their frames, (R, T, W)."""
        assert condition is not None
        changes = self.modulation(F.silu(condition)).unsqueeze(-2).chunk(6, dim=-1)  # each (R, T, 1, W)
        shift1, scale1, gate1, shift2, scale2, gate2 = changes
        mixed, seen = self.attend(self.norm1(x) * (1 + scale1) + shift1, table, mask=mask, past=past)
        x = x + gate1 * mixed
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2), seen


def _repeated(past: KeysValues, rows: int) -> KeysValues:
    """Give each row of ``past`` to all of its candidates, without a copy where there is one: (B, ...) -> (B S, ...)."""
    times = rows // len(past.keys)
    return KeysValues(*(part if times == 1 else part.repeat_interleave(times, dim=0) for part in past))
