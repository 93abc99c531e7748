"""DINO-WM: every patch token beside the action that its frame meets."""

import torch
from torch import Tensor, nn

from jepa.config.world_model import ConcatDynamics
from jepa.models.dynamics.block import FrameBlock
from jepa.models.dynamics.transformer import Embedding, TransformerDynamics
from jepa.types import Grid


class ConcatEmbedding(Embedding):
    """Patch, action and proprioception side by side in every token (DINO-WM, arXiv:2411.04983, section 3.1).

    A linear layer brings them to the transformer's width; DINO-WM's width is their sum.
    """

    def __init__(self, width: int, *, dim: int, action_size: int, proprio_size: int, action_dim: int) -> None:
        super().__init__()
        self.action = nn.Linear(action_size, action_dim)
        self.proprio = nn.Linear(proprio_size, action_dim) if proprio_size else None
        self.token = nn.Linear(dim + action_dim * (2 if proprio_size else 1), width)

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None) -> tuple[Tensor, None]:
        """Embed (..., N, D), (..., A), (..., P) -> (..., N, W) tokens."""
        beside = [self.action(actions)]  # (..., action_dim)
        if self.proprio is not None:
            beside.append(self.proprio(proprio))
        tiled = [part.unsqueeze(-2).expand(*z.shape[:-1], -1) for part in beside]  # (..., N, action_dim)
        return self.token(torch.cat([z, *tiled], dim=-1)), None


def concat_dynamics(
    config: ConcatDynamics,
    *,
    dim: int,
    grid: Grid,
    action_size: int,
    proprio_size: int,
    normalise: bool,
) -> TransformerDynamics:
    """Build DINO-WM's predictor for frames of ``grid`` with ``dim`` numbers per token.

    Positions are rotary, where DINO-WM learns one per place of its window: a rollout may be longer than a window.
    """
    embedding = ConcatEmbedding(
        config.width,
        dim=dim,
        action_size=action_size,
        proprio_size=proprio_size,
        action_dim=config.action_dim,
    )
    blocks = [FrameBlock(config.width, config.heads) for _ in range(config.depth)]
    return TransformerDynamics(
        embedding, blocks, dim=dim, grid=grid, history=config.history, normalise=normalise
    )
