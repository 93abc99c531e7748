"""Inverse dynamics: latents must tell which action led from one frame to the next."""

import torch
from torch import Tensor, nn

WIDTH = 512  # one hidden layer of 512, as PLDM's released configurations have it


class InverseDynamics(nn.Module):
    """Read the action from two neighbouring frames (Pathak et al., arXiv:1705.05363; PLDM, arXiv:2502.14819)."""

    def __init__(self, size: int, action_size: int) -> None:
        """``size`` is the numbers of one frame's latent, N * D; ``action_size`` those of one model step's action."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * size, WIDTH), nn.ReLU(), nn.Linear(WIDTH, action_size))

    def forward(self, z: Tensor) -> Tensor:
        """Return the actions, normalised, between neighbouring frames: (B, T, N, D) -> (B, T - 1, A)."""
        frames = z.flatten(2)  # (B, T, N * D)
        actions: Tensor = self.layers(torch.cat([frames[:, :-1], frames[:, 1:]], dim=-1))
        return actions
