"""Keys and values of earlier frames: joined by copies, which gradients can follow, or kept in place."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class KeysValues(NamedTuple):
    """Keys and values of one block of a transformer."""

    keys: Tensor  # (rows, h, tokens, D / h)
    values: Tensor


class Past(Protocol):
    """What one block remembers."""

    def join(self, new: KeysValues) -> KeysValues:
        """Return keys and values of the past and of ``new`` frames together, (R, h, tokens, D / h)."""
        ...


class Parts:
    """The plain past: parts, whose rows may be fewer by a factor, are repeated and put side by side."""

    def __init__(self, parts: Sequence[KeysValues] = ()) -> None:
        self.parts = parts

    def join(self, new: KeysValues) -> KeysValues:
        """Put ``new`` behind the parts: a copy of everything, so that nothing is changed in place."""
        parts = (*(_repeated(one, len(new.keys)) for one in self.parts), new)
        return KeysValues(*(torch.cat(part, dim=-2) for part in zip(*parts, strict=True)))


class Slots:
    """Room for the newest ``frames`` frames of a single future, which each step fills in place, without gradients.

    A frame that is too old is overwritten. Frames then stand in another order than in time, which attention does not
    see: rotary positions are in the keys.
    """

    def __init__(self, context: KeysValues | None, *, frames: int, tokens: int) -> None:
        """Begin with the ``context``, whose rows may be fewer by a factor; a frame has ``tokens`` tokens."""
        self.context, self.frames, self.tokens = context, frames, tokens
        self.seen = 0 if context is None else context.keys.shape[-2] // tokens
        self.kept: KeysValues | None = None

    def join(self, new: KeysValues) -> KeysValues:
        """Write one ``new`` frame, (R, h, tokens, D / h), and return a view of all that are kept."""
        if self.kept is None:
            self.kept, self.context = self._room(new), None
        slot = self.seen % self.frames * self.tokens
        self.seen += 1
        filled = min(self.seen, self.frames) * self.tokens
        for kept, part in zip(self.kept, new, strict=True):
            kept[:, :, slot : slot + self.tokens] = part
        return KeysValues(*(kept[:, :, :filled] for kept in self.kept))

    def _room(self, like: KeysValues) -> KeysValues:
        """Make room for the rows of ``like``, and give the context to each of them."""
        rows, heads, _, width = like.keys.shape
        kept = KeysValues(*(part.new_empty(rows, heads, self.frames * self.tokens, width) for part in like))
        if self.context is None:
            return kept
        for room, part in zip(kept, self.context, strict=True):
            known = room.view(len(part), -1, *room.shape[1:])[..., : part.shape[-2], :]  # (B, S, h, known, d)
            known[:] = part.unsqueeze(1)
        return kept


def _repeated(past: KeysValues, rows: int) -> KeysValues:
    """Give each row of ``past`` to all of its candidates, without a copy where there is one: (B, ...) -> (B S, ...)."""
    times = rows // len(past.keys)
    return KeysValues(*(part if times == 1 else part.repeat_interleave(times, dim=0) for part in past))
