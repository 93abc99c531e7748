"""Whole episodes as a world model sees them, for what is learned or looked up in its latent space."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from jepa.types import Trajectory, WorldModel

FRAMES_AT_ONCE = 256


@torch.inference_mode()
def encode_episodes(
    world_model: WorldModel, episodes: Sequence[Trajectory], *, pool: bool = False
) -> list[Tensor]:
    """Encode each frame of each episode alone: (T + 1, N, D) each, on the CPU; ``pool`` keeps token means, N = 1."""
    return [encode_frames(world_model, episode, pool=pool) for episode in episodes]


def encode_frames(world_model: WorldModel, episode: Trajectory, *, pool: bool) -> Tensor:
    """Encode the frames of one episode: (T + 1, N, D)."""
    parts = []
    for first in range(0, len(episode.frames), FRAMES_AT_ONCE):
        index = np.arange(first, min(first + FRAMES_AT_ONCE, len(episode.frames)))
        z = world_model.encode(torch.as_tensor(episode.frames[index])[None])[0]  # (n, N, D)
        parts.append((z.mean(1, keepdim=True) if pool else z).float().cpu())
    return torch.cat(parts)
