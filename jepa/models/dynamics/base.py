"""What every dynamics model offers: teacher forcing, and single steps that remember the context."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from jepa.models.dynamics.past import KeysValues, Slots


class Memory(NamedTuple):
    """What a step needs of the frames before it; empty for a model without memory."""

    frames: int = 0
    """Frames so far: the time of the next one."""
    context: tuple[KeysValues, ...] = ()
    """Per block, of the frames that were seen: one row per sample, which all its candidates share."""
    imagined: tuple[KeysValues, ...] = ()
    """Per block, of the frames that were imagined: one row per sample and candidate."""
    ahead: int | None = None
    """Steps to come, where that is known: then what no step will read is not kept, and ``slots`` may be used."""
    slots: tuple[Slots, ...] = ()
    """Per block, instead of the two above: room that steps without gradients fill in place, for one future only."""


class Dynamics(nn.Module, ABC):
    """Action-conditioned prediction of the next frame's tokens; actions and proprioception come normalised.

    Letters: S candidates, N tokens per frame, A numbers per action, P numbers of proprioception.
    """

    history: int
    """Frames that a frame is predicted from, the newest among them."""

    @abstractmethod
    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Predict with teacher forcing: (B, T, N, D), (B, T, A), (B, T, P) -> (B, T, N, D).

        Output t is the prediction of frame t + 1, from frames max(0, t - history + 1) to t and their actions.
        """

    @abstractmethod
    def start(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Memory:
        """Remember the frames before the newest: (B, T - 1, N, D), (B, T - 1, A), (B, T - 1, P); T - 1 may be 0."""

    @abstractmethod
    def step(
        self, z: Tensor, action: Tensor, memory: Memory, proprio: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Predict the frame after ``z``: (B, S, N, D), (B, S, A), (B, S, P) -> (B, S, N, D), and the new memory.

        The memory of the context is shared by all S candidates and is not computed again.
        """
