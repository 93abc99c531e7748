"""LeWM: a causal transformer over frame vectors whose norms are modulated by the action."""

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.config.world_model import AdaLNDynamics
from jepa.models.dynamics.block import AdaLNBlock
from jepa.models.dynamics.transformer import Embedding, TransformerDynamics
from jepa.models.linear import Linear
from jepa.types import Grid


class VectorEmbedding(Embedding):
    """Frame vector as token; action, and proprioception where there is one, as condition (LeWM, section 3)."""

    def __init__(self, width: int, *, dim: int, action_size: int, proprio_size: int) -> None:
        super().__init__()
        self.frame = Linear(dim, width)
        self.condition1 = Linear(action_size + proprio_size, width)
        self.condition2 = Linear(width, width)

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None) -> tuple[Tensor, Tensor]:
        """Embed (..., N, D), (..., A), (..., P) -> (..., N, W) tokens, (..., W) condition."""
        known = actions if proprio is None else torch.cat((actions, proprio), dim=-1)
        return self.frame(z), self.condition2(F.silu(self.condition1(known)))


def adaln_dynamics(
    config: AdaLNDynamics,
    *,
    dim: int,
    grid: Grid,
    action_size: int,
    proprio_size: int,
    normalise: bool,
) -> TransformerDynamics:
    """Build LeWM's predictor (arXiv:2603.19312, section 3), for frames with ``dim`` numbers.

    The head is linear behind a layer norm, where LeWM has a projector with batch norm: what is predicted for one
    candidate does not depend on the others, in training neither. Positions are rotary, where LeWM learns them.
    """
    embedding = VectorEmbedding(config.width, dim=dim, action_size=action_size, proprio_size=proprio_size)
    blocks = [
        AdaLNBlock(
            config.width,
            config.heads,
            dropout=config.dropout,
            head_width=config.head_width,
            mlp_width=config.mlp_width,
        )
        for _ in range(config.depth)
    ]
    return TransformerDynamics(
        embedding, blocks, dim=dim, grid=grid, history=config.history, normalise=normalise
    )
