"""What a planning policy remembers: the last model steps of the episode, as a world model wants them."""

from collections import deque

import torch
from torch import Tensor

from jepa.types import WorldModel


class Context:
    """The last frames, the actions between them, and proprioception.

    Every frame is encoded once, and only when a decision needs it.
    """

    def __init__(self, world_model: WorldModel, frames: int | None = None) -> None:
        """Remember the last ``frames``, by default as many as the world model attends to."""
        length = world_model.history if frames is None else min(frames, world_model.history)
        self._world_model = world_model
        self._frames: deque[Tensor] = deque(maxlen=length)  # (B, H, W, 3) uint8, not encoded yet
        self._latents: deque[Tensor] = deque(maxlen=length)  # (B, N, D)
        self._proprio: deque[Tensor] = deque(maxlen=length)  # (B, P)
        self._actions: deque[Tensor] = deque(maxlen=length)  # (B, A)

    def see(self, frames: Tensor, proprio: Tensor | None) -> None:
        """Add the frames (B, H, W, 3) of a model step, and proprioception (B, P)."""
        self._frames.append(frames)
        if proprio is not None:
            self._proprio.append(proprio)

    def did(self, actions: Tensor) -> None:
        """Add the actions (B, A) that follow the last frame."""
        self._actions.append(actions)

    def latents(self) -> Tensor:
        """Return the encoded frames, (B, T, N, D)."""
        if self._frames:
            self._latents.extend(
                self._world_model.encode(torch.stack(list(self._frames), dim=1)).unbind(dim=1)
            )
            self._frames.clear()
        return torch.stack(list(self._latents), dim=1)

    def past_actions(self) -> Tensor | None:
        """Return the actions between the frames, (B, T - 1, A); None for one frame. Call it after `latents`."""
        between = len(self._latents) - 1
        return torch.stack(list(self._actions)[-between:], dim=1) if between else None

    def proprio(self) -> Tensor | None:
        """Return proprioception, (B, T, P); None where the world model has none."""
        return torch.stack(list(self._proprio), dim=1) if self._proprio else None


def rows(values: Tensor | None, index: Tensor) -> Tensor | None:
    """Return the problems at ``index``, (b,)."""
    return None if values is None else values[index.to(values.device)]
