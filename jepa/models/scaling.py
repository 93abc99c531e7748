"""Between the units of the environment and the numbers that a world model sees."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

Statistics = Sequence[ArrayLike]
"""Mean, standard deviation, lowest and highest value, each (A,), of an environment step, over training episodes."""


class Scaling(nn.Module):
    """Normalises actions and proprioception with the statistics of the training episodes, which it saves.

    Statistics are those of one environment step; a model step's action is ``frame_skip`` of them, one after
    another.
    """

    action_mean: Tensor  # (a,), as the three below
    action_std: Tensor
    action_low: Tensor
    action_high: Tensor
    proprio_mean: Tensor  # (P,)
    proprio_std: Tensor

    def __init__(
        self,
        action: Statistics | None = None,
        proprio: Statistics | None = None,
        *,
        action_size: int,
        proprio_size: int,
        frame_skip: int,
    ) -> None:
        """Keep the statistics of ``action_size`` and ``proprio_size`` numbers; by default, what changes nothing.

        Raises ValueError for statistics of another size, and for a deviation that is not above 0.
        """
        super().__init__()
        self.frame_skip = frame_skip
        means = _checked("action", action, action_size)
        for name, values in zip(("mean", "std", "low", "high"), means, strict=True):
            self.register_buffer(f"action_{name}", values)
        for name, values in zip(("mean", "std"), _checked("proprio", proprio, proprio_size)[:2], strict=True):
            self.register_buffer(f"proprio_{name}", values)

    def actions(self, actions: Tensor) -> Tensor:
        """Normalise actions of model steps: (..., A) in the units of the environment -> (..., A)."""
        steps = actions.reshape(*actions.shape[:-1], self.frame_skip, len(self.action_mean))
        return ((steps - self.action_mean) / self.action_std).flatten(-2)

    def restore(self, actions: Tensor) -> Tensor:
        """Undo `actions`: (..., A) normalised -> (..., A) in the units of the environment."""
        steps = actions.reshape(*actions.shape[:-1], self.frame_skip, len(self.action_mean))
        return (steps * self.action_std + self.action_mean).flatten(-2)

    def proprio(self, proprio: Tensor | None) -> Tensor | None:
        """Normalise proprioception, (..., P); none stays none."""
        return None if proprio is None else (proprio - self.proprio_mean) / self.proprio_std


def _checked(name: str, statistics: Statistics | None, size: int) -> list[Tensor]:
    """Return mean, deviation, lowest and highest as tensors."""
    if statistics is None:
        return [torch.zeros(size), torch.ones(size), -torch.ones(size), torch.ones(size)]
    tensors = [torch.as_tensor(values, dtype=torch.float32) for values in statistics]
    shapes = [tuple(values.shape) for values in tensors]
    if shapes != [(size,)] * 4:
        raise ValueError(
            f"{name} statistics must be mean, std, low, high of {size} numbers each, got {shapes}"
        )
    if not bool((tensors[1] > 0).all()):
        raise ValueError(f"{name} statistics: every deviation must be above 0, got {tensors[1].tolist()}")
    return tensors
