"""V-JEPA 2-AC: per frame a token of the action, one of the state, and those of the patches."""

import torch
from torch import Tensor, nn

from jepa.config.world_model import TokenDynamics
from jepa.models.dynamics.block import FrameBlock
from jepa.models.dynamics.transformer import Embedding, TransformerDynamics
from jepa.models.linear import Linear
from jepa.types import Grid


class TokenEmbedding(Embedding):
    """Sequence of [action, state, patches] of every frame (V-JEPA 2-AC, arXiv:2506.09985, section 3.1)."""

    def __init__(self, width: int, *, dim: int, action_size: int, proprio_size: int) -> None:
        super().__init__()
        self.patches = Linear(dim, width)
        self.action = nn.Linear(action_size, width)
        self.state = nn.Linear(proprio_size, width) if proprio_size else None
        self.extra = 2 if proprio_size else 1

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None) -> tuple[Tensor, None]:
        """Embed (..., N, D), (..., A), (..., P) -> (..., extra + N, W) tokens."""
        tokens = [self.action(actions).unsqueeze(-2)]  # (..., 1, W)
        if self.state is not None:
            tokens.append(self.state(proprio).unsqueeze(-2))
        return torch.cat([*tokens, self.patches(z)], dim=-2), None


def token_dynamics(
    config: TokenDynamics,
    *,
    dim: int,
    grid: Grid,
    action_size: int,
    proprio_size: int,
    normalise: bool,
) -> TransformerDynamics:
    """Build V-JEPA 2-AC's predictor for frames of ``grid`` with ``dim`` numbers per token.

    As released (facebookresearch/vjepa2, src/models/ac_predictor.py) but for the history: there a frame attends to
    all frames before it, which in training were up to 7.
    """
    embedding = TokenEmbedding(config.width, dim=dim, action_size=action_size, proprio_size=proprio_size)
    blocks = [FrameBlock(config.width, config.heads) for _ in range(config.depth)]
    return TransformerDynamics(
        embedding,
        blocks,
        dim=dim,
        grid=grid,
        history=config.history,
        normalise=normalise,
        layout=config.rotary_layout,
    )
