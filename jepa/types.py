"""The plain nouns that every room shares.

Dimension letters, everywhere: B batch, T frames, C channels, H W pixels, N tokens, K context tokens,
M target tokens, D width, h heads.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Grid(NamedTuple):
    """Tokens along time, height and width; token ``(t, y, x)`` has index ``(t * height + y) * width + x``."""

    time: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """The number of tokens, N."""
        return self.time * self.height * self.width


class Share(NamedTuple):
    """One of several equal parts of every batch: that of process ``number`` of ``of``."""

    number: int = 0
    of: int = 1

    def rows(self, total: int) -> range:
        """Return which of ``total`` rows are this part's."""
        each = total // self.of
        return range(self.number * each, (self.number + 1) * each)


WHOLE = Share()


class Rows(NamedTuple):
    """Which rows of a step's whole batch these are; what is random in a sample is drawn by its row."""

    first: int
    total: int


@dataclass(frozen=True, slots=True)
class Masks:
    """Token indices for one mask pattern. Every token of the clip is in at most one of the two."""

    context: Tensor  # (B, K) long: what the encoder sees
    target: Tensor  # (B, M) long: what the predictor must fill in


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch: clips of one shape and the masks drawn for them."""

    clip: Tensor  # (B, C, T, H, W) float, normalised; an image is a clip with T = 1
    masks: tuple[Masks, ...]  # one per mask pattern
    bad: tuple[BadFile, ...] = field(default=())  # files skipped while this batch was put together
    rows: Rows | None = None
    """Where it stands in the step's whole batch; None where it is the whole."""

    def to(self, device: torch.device | str) -> Self:
        """Copy every tensor to ``device``, without waiting for the copy where the memory is pinned."""
        masks = tuple(
            Masks(m.context.to(device, non_blocking=True), m.target.to(device, non_blocking=True))
            for m in self.masks
        )
        return type(self)(self.clip.to(device, non_blocking=True), masks, self.bad, self.rows)

    def split(self, parts: int) -> list[Self]:
        """Cut the batch into ``parts`` equal micro-batches, for gradient accumulation."""
        size = len(self.clip) // parts
        first, total = self.rows or Rows(0, len(self.clip))
        return [
            type(self)(
                self.clip[i : i + size],
                tuple(Masks(m.context[i : i + size], m.target[i : i + size]) for m in self.masks),
                self.bad,
                Rows(first + i, total),
            )
            for i in range(0, parts * size, size)
        ]


class FrameReader(Protocol):
    """Frames that are read when asked for: an array in memory, a mapped file, or a video."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Return the frames at ``index``, which is sorted: (n,) -> (n, H, W, 3) uint8."""
        ...


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode: T + 1 frames and the T actions between them; action t leads from frame t to frame t + 1."""

    name: str
    """What the episode is called in messages: its file, its number."""
    frames: FrameReader
    """T + 1 frames."""
    actions: NDArray[np.float32]
    """(T, A), in the units of the environment."""
    rate: float | None = None
    """Steps per second; None where it is not known."""
    proprio: NDArray[np.float32] | None = None
    """(T + 1, P): what the agent feels of itself."""
    rewards: NDArray[np.float32] | None = None
    """(T,)."""
    states: NDArray[np.float64] | None = None
    """(T + 1, S): the simulator's whole state, for evaluation; a world model never sees it."""

    def __len__(self) -> int:
        """Return the number of steps, T."""
        return len(self.actions)


@dataclass(frozen=True, slots=True)
class Windows:
    """One training batch of a world model: T frames, in model steps, and the T - 1 actions between them."""

    frames: Tensor  # (B, T, 3, H, W) uint8, at the resolution of the data; or latents, (B, T, N, D) float32
    actions: Tensor  # (B, T - 1, A) float32, in the units of the environment
    proprio: Tensor | None = None  # (B, T, P) float32, as recorded
    bad: tuple[BadFile, ...] = field(default=())  # episodes skipped while this batch was put together

    @property
    def is_encoded(self) -> bool:
        """Whether ``frames`` are not pixels but what a frozen encoder made of them, once for all batches."""
        return self.frames.is_floating_point()

    def to(self, device: torch.device | str) -> Self:
        """Copy every tensor to ``device``, without waiting for the copy where the memory is pinned."""
        frames, actions = (t.to(device, non_blocking=True) for t in (self.frames, self.actions))
        proprio = None if self.proprio is None else self.proprio.to(device, non_blocking=True)
        return type(self)(frames, actions, proprio, self.bad)

    def split(self, parts: int) -> list[Self]:
        """Cut the batch into ``parts`` equal micro-batches, for gradient accumulation."""
        size = len(self.frames) // parts
        rows = [slice(i * size, (i + 1) * size) for i in range(parts)]
        return [
            type(self)(
                self.frames[r], self.actions[r], None if self.proprio is None else self.proprio[r], self.bad
            )
            for r in rows
        ]


class WorldModel(Protocol):
    """All that planning knows of a world model.

    Letters: S candidates, H model steps of horizon, N tokens per frame, A numbers of one model step's action:
    ``frame_skip`` environment steps, one after another.
    """

    frame_skip: int
    """Environment steps per model step."""
    history: int
    """Frames of context, in model steps, that the dynamics can use."""
    action_size: int
    """Numbers of one model step's action, A."""
    proprio_size: int
    """Numbers of proprioception, P; 0 for a model that takes none."""

    def encode(self, frames: Tensor) -> Tensor:
        """Encode each frame alone: (B, T, H, W, 3) uint8 of any size -> (B, T, N, D)."""
        ...

    def rollout(
        self,
        z: Tensor,
        actions: Tensor,
        *,
        past_actions: Tensor | None = None,
        proprio: Tensor | None = None,
    ) -> Tensor:
        """Imagine: (B, T, N, D), (B, H, A) -> (B, H, N, D); (B, S, H, A) -> (B, S, H, N, D).

        ``actions`` are in the units of the environment. ``past_actions``, (B, T - 1, A), lie between the T frames
        of context. ``proprio`` is (B, T, P).
        """
        ...
