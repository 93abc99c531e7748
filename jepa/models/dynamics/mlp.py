"""PLDM: a residual MLP on the newest frame vector and its action."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.config.world_model import MlpDynamics
from jepa.models.activations import GELU
from jepa.models.blocks import NORM_EPS
from jepa.models.dynamics.base import Dynamics, Memory
from jepa.models.linear import Linear
from jepa.types import Grid


class ResidualMLP(Dynamics):
    """Next frame = frame + MLP(frame, action, proprioception), without memory (PLDM, arXiv:2502.14819)."""

    history = 1

    def __init__(self, layers: nn.Sequential, *, normalise: bool) -> None:
        """Build; ``normalise`` layer-norms the predictions, as the frames they are compared with are."""
        super().__init__()
        self.layers, self.normalise = layers, normalise

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Predict with teacher forcing: (B, T, N, D), (B, T, A), (B, T, P) -> (B, T, N, D)."""
        known = actions if proprio is None else torch.cat((actions, proprio), dim=-1)
        known = known.unsqueeze(-2).expand(*z.shape[:-1], -1)  # (B, T, N, A + P)
        predicted = z + self.layers(torch.cat((z, known), dim=-1))
        return F.layer_norm(predicted, predicted.shape[-1:]) if self.normalise else predicted

    def start(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Memory:
        """Remember nothing: the newest frame is all that is used."""
        return Memory(z.shape[1])

    def step(
        self, z: Tensor, action: Tensor, memory: Memory, proprio: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Predict the frame after ``z``: (B, S, N, D), (B, S, A), (B, S, P) -> (B, S, N, D)."""
        return self(z, action, proprio), Memory(memory.frames + 1)


def mlp_dynamics(
    config: MlpDynamics,
    *,
    dim: int,
    grid: Grid,
    action_size: int,
    proprio_size: int,
    normalise: bool,
) -> ResidualMLP:
    """Build a residual MLP for frames with ``dim`` numbers; hidden layers are layer-normed before their GELU."""
    layers: list[nn.Module] = []
    width = dim + action_size + proprio_size
    for _ in range(config.depth):
        layers += [Linear(width, config.width), nn.LayerNorm(config.width, eps=NORM_EPS), GELU()]
        width = config.width
    return ResidualMLP(nn.Sequential(*layers, Linear(width, dim)), normalise=normalise)
