"""The transformer block of the dynamics: it hands out its keys and values, so that a rollout can keep them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.models.blocks import MLP, NORM_EPS, Attention
from jepa.models.dynamics.past import KeysValues, Parts, Past
from jepa.models.linear import Linear
from jepa.models.rotary import Rotary

MLP_RATIO = 4
NOTHING = Parts()


class FrameBlock(nn.Module):
    """Pre-norm block over the tokens of several frames."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float = 0.0,
        affine: bool = True,
        head_width: int | None = None,
        mlp_width: int | None = None,
    ) -> None:
        """Build; heads are ``width`` / ``heads`` wide and the MLP 4 times ``width``, where nothing else is given."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=affine)
        self.attn = Attention(width, heads, dropout, head_width=head_width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=affine)
        self.mlp = MLP(width, mlp_width or MLP_RATIO * width, dropout)

    def forward(
        self,
        x: Tensor,
        table: Rotary,
        condition: Tensor | None,
        *,
        mask: Tensor | None = None,
        past: Past = NOTHING,
    ) -> tuple[Tensor, KeysValues]:
        """Update tokens, (R, T, M, W); ``condition``, (R, T, W), is for the subclass.

        Keys and values of the ``past`` and of these frames are returned together.
        """
        mixed, seen = self.attend(x, table, mask=mask, past=past, norm=self.norm1)
        x = x + mixed
        return x + self.mlp(x, self.norm2), seen

    def attend(
        self, x: Tensor, table: Rotary, *, mask: Tensor | None, past: Past, norm: nn.LayerNorm | None = None
    ) -> tuple[Tensor, KeysValues]:
        """Mix the tokens of all frames, (R, T, M, W), behind ``norm`` if it is given, and of the ``past``."""
        q, k, v = self.attn.project(x.flatten(1, 2), table, norm)  # (R, h, T * M, W / h)
        seen = past.join(KeysValues(k, v))
        return self.attn.mix(q, *seen, mask).reshape(x.shape), seen


class AdaLNBlock(FrameBlock):
    """Block whose norms and branches are scaled by the action (AdaLN-zero: DiT, arXiv:2212.09748, section 3.2).

    The last layer of the modulation is zero at first, so the block starts as the identity.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float = 0.0,
        head_width: int | None = None,
        mlp_width: int | None = None,
    ) -> None:
        super().__init__(
            width, heads, dropout=dropout, affine=False, head_width=head_width, mlp_width=mlp_width
        )
        self.modulation = Linear(width, 6 * width)

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
        past: Past = NOTHING,
    ) -> tuple[Tensor, KeysValues]:
        """Update tokens, (R, T, M, W), given the condition of their frames, (R, T, W)."""
        assert condition is not None
        changes = self.modulation(F.silu(condition)).unsqueeze(-2).chunk(6, dim=-1)  # each (R, T, 1, W)
        shift1, scale1, gate1, shift2, scale2, gate2 = changes
        normed = torch.addcmul(shift1, self.norm1(x), 1 + scale1)
        mixed, seen = self.attend(normed, table, mask=mask, past=past)
        x = torch.addcmul(x, gate1, mixed)
        normed = torch.addcmul(shift2, self.norm2(x), 1 + scale2)
        return torch.addcmul(x, gate2, self.mlp(normed)), seen
