"""A learned distance in time: how many steps lie between an encoded frame and a goal."""

import torch
from torch import Tensor, nn

from jepa.models.blocks import NORM_EPS


class TemporalDistance(nn.Module):
    """A quasimetric on encoded frames: never negative, 0 from a frame to itself, and no detour is shorter.

    It need not be symmetric, since a way back may be longer. An MLP embeds frames, and `quasimetric` compares
    embeddings: a goal-reaching value function of deterministic dynamics has just this
    structure (QRL, arXiv:2304.01203, section 3).
    """

    mean: Tensor  # (size,), as std: of the latents it was learned on
    std: Tensor

    def __init__(self, size: int, *, width: int, dim: int, pool: bool = True) -> None:
        """Build for frames of ``size`` numbers: a token's with ``pool``, else those of all N tokens, N * D.

        ``width`` is the hidden layers', ``dim`` the embedding's.
        """
        super().__init__()
        self.pool = pool
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.layers = nn.Sequential(
            *(nn.Linear(size, width), nn.LayerNorm(width, eps=NORM_EPS), nn.GELU()),
            *(nn.Linear(width, width), nn.LayerNorm(width, eps=NORM_EPS), nn.GELU()),
            nn.Linear(width, dim),
        )

    def forward(self, z: Tensor, goal: Tensor) -> Tensor:
        """Return the steps from frames to goals, (..., N, D), (..., N, D) -> (...); leading axes broadcast."""
        return quasimetric(self.embed(z), self.embed(goal))

    def embed(self, z: Tensor) -> Tensor:
        """Return the points that are compared, (..., N, D) -> (..., dim)."""
        embedding: Tensor = self.layers((pooled(z, pool=self.pool) - self.mean) / self.std)
        return embedding


def pooled(z: Tensor, *, pool: bool) -> Tensor:
    """Return the mean over tokens, (..., N, D) -> (..., D), or all of them side by side, (..., N * D)."""
    return z.mean(-2) if pool else z.flatten(-2)


def quasimetric(start: Tensor, goal: Tensor) -> Tensor:
    """Return the distance between embeddings, (..., dim), (..., dim) -> (...).

    The Euclidean norm of the difference's first half, and the largest positive number in its second half, which
    alone could embed every quasimetric of finitely many points (Metric Residual Network, arXiv:2208.08133).
    """
    symmetric, directed = (start - goal).tensor_split(2, dim=-1)  # (..., dim / 2) each
    return torch.linalg.vector_norm(symmetric, dim=-1) + directed.relu().amax(dim=-1)
