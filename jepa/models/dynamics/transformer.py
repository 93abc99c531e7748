"""The transformer over frames that three dynamics models share: a band of history, and a memory for rollouts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.errors import ConfigError
from jepa.models.blocks import NORM_EPS, init_weights, shrink
from jepa.models.dynamics.base import Dynamics, Memory
from jepa.models.dynamics.block import AdaLNBlock, FrameBlock
from jepa.models.dynamics.past import KeysValues, Parts, Past, Slots
from jepa.models.linear import Linear
from jepa.models.rotary import Layout, Rotary, coordinates, rotary_at
from jepa.types import Grid


class Embedding(nn.Module, ABC):
    """How frames, actions and proprioception become tokens."""

    extra: int = 0
    """Tokens per frame before those of the patches."""

    @abstractmethod
    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Embed (..., N, D), (..., A), (..., P) -> (..., extra + N, W) tokens, and a condition (..., W) or None."""


class TransformerDynamics(Dynamics):
    """Block-causal transformer: tokens see all tokens of their frame and of the ``history`` - 1 frames before it.

    Rotary positions: time for all tokens, height and width for the patches, so that nothing depends on where in
    time a window begins.
    """

    def __init__(
        self,
        embedding: Embedding,
        blocks: Sequence[FrameBlock],
        *,
        dim: int,
        grid: Grid,
        history: int,
        normalise: bool,
        layout: Layout = "paired",
    ) -> None:
        """Build; ``normalise`` layer-norms the predictions, as the frames they are compared with are.

        ``layout`` is that of the rotary tables. Released weights also count columns in rows' places: a frame is as
        wide as it is high, however many columns it has.
        """
        super().__init__()
        self.embedding, self.blocks = embedding, nn.ModuleList(blocks)
        self.grid, self.history, self.normalise, self.layout = grid, history, normalise, layout
        self.tokens = embedding.extra + grid.tokens  # per frame, M
        heads, width = blocks[0].attn.heads, blocks[0].norm1.normalized_shape[0]
        self.axes = 1 if grid.tokens == 1 else 3
        self.head_width = blocks[0].attn.proj.in_features // heads
        if self.head_width < 2 * self.axes:
            raise ConfigError(
                f"dynamics.heads: {heads} heads of {self.head_width} numbers cannot hold rotary positions along "
                f"{self.axes} axes; use at most {width // (2 * self.axes)} heads, or a larger width"
            )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.head = Linear(width, dim)
        self._init()

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Predict with teacher forcing: (B, T, N, D), (B, T, A), (B, T, P) -> (B, T, N, D)."""
        x, _ = self._run(z, actions, proprio, [Parts()] * len(self.blocks))
        return self._read(x)

    def start(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Memory:
        """Remember the frames before the newest: (B, T - 1, N, D), (B, T - 1, A), (B, T - 1, P)."""
        frames = z.shape[1]
        if frames == 0:
            return Memory()
        _, seen = self._run(z, actions, proprio, [Parts()] * len(self.blocks))
        band = (self.history - 1) * self.tokens
        return Memory(frames, tuple(_newest(one, band) for one in seen))

    def step(
        self, z: Tensor, action: Tensor, memory: Memory, proprio: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Predict the frame after ``z``: (B, S, N, D), (B, S, A), (B, S, P) -> (B, S, N, D)."""
        assert memory.ahead != 0, "this memory was to be for fewer steps"
        shape = z.shape
        z = z.flatten(0, 1).unsqueeze(1)  # (B S, 1, N, D)
        action = action.flatten(0, 1).unsqueeze(1)  # (B S, 1, A)
        proprio = None if proprio is None else proprio.flatten(0, 1).unsqueeze(1)  # (B S, 1, P)
        slots = memory.slots or self._slots(memory)
        past = slots or self._parts(memory)
        x, seen = self._run(
            z, action, proprio, past, first=memory.frames, keep=not slots and memory.ahead != 1
        )
        return self._read(x).reshape(shape), self._extended(memory, slots, seen)

    def _run(
        self,
        z: Tensor,
        actions: Tensor,
        proprio: Tensor | None,
        past: Sequence[Past],
        *,
        first: int = 0,
        keep: bool = True,
    ) -> tuple[Tensor, list[KeysValues]]:
        """Run all blocks over frames from time ``first`` on, (R, T, ...) -> (R, T, M, W).

        Returns also the keys and values that each block saw, if they are to be kept.
        """
        frames = z.shape[1]
        x, condition = self.embedding(z, actions, proprio)
        table = self._positions(first, frames, z.device)
        # The band of a single frame is everything that the memory has kept.
        mask = self._band(frames, z.device) if frames > 1 else None
        seen = []
        for block, before in zip(self.blocks, past, strict=True):
            x, keys_values = block(x, table, condition, mask=mask, past=before)
            if keep:
                seen.append(keys_values)
        return x, seen

    def _read(self, x: Tensor) -> Tensor:
        """Turn the tokens of the patches into predictions: (..., M, W) -> (..., N, D)."""
        z = self.head(self.norm(x[..., -self.grid.tokens :, :]))
        return F.layer_norm(z, z.shape[-1:]) if self.normalise else z

    def _parts(self, memory: Memory) -> tuple[Parts, ...]:
        """Return what each block remembers, to be joined by copies."""
        parts = [part for part in (memory.context, memory.imagined) if part]
        return tuple(Parts([part[layer] for part in parts]) for layer in range(len(self.blocks)))

    def _slots(self, memory: Memory) -> tuple[Slots, ...]:
        """Return room for the frames to come, where more than one is known to come and no gradient is wanted."""
        if memory.ahead is None or memory.ahead == 1 or memory.imagined or torch.is_grad_enabled():
            return ()
        contexts = memory.context or (None,) * len(self.blocks)
        known = memory.context[0].keys.shape[-2] // self.tokens if memory.context else 0
        frames = min(self.history, known + memory.ahead)
        return tuple(Slots(context, frames=frames, tokens=self.tokens) for context in contexts)

    def _extended(self, memory: Memory, slots: tuple[Slots, ...], seen: Sequence[KeysValues]) -> Memory:
        """Add an imagined frame, the last in what it has ``seen``; drop what is older than `history` - 1 frames."""
        later = Memory(memory.frames + 1, ahead=None if memory.ahead is None else memory.ahead - 1)
        if slots or not seen:
            return later._replace(slots=slots)
        band = (self.history - 1) * self.tokens
        before = memory.imagined[0].keys.shape[-2] if memory.imagined else 0
        kept = min(band, before + self.tokens)
        return later._replace(
            context=tuple(_newest(one, band - kept) for one in memory.context),
            imagined=tuple(_newest(one, kept) for one in seen),
        )

    def _positions(self, first: int, frames: int, device: torch.device) -> Rotary:
        """Return the tables of the tokens of ``frames`` frames from time ``first`` on, (T * M, d)."""
        patches = coordinates(Grid(1, self.grid.height, self.grid.width), device)  # (N, 3)
        # Tokens of action and state stand at height and width 0, which rotates them in time alone.
        places = torch.cat((patches.new_zeros(self.tokens - len(patches), 3), patches)).repeat(frames, 1)
        places[:, 0] = torch.arange(first, first + frames, device=device).repeat_interleave(self.tokens)
        if self.layout == "released":
            places[:, 2] *= self.grid.height / self.grid.width
        return rotary_at(places[:, : self.axes], self.head_width, layout=self.layout)

    def _band(self, frames: int, device: torch.device) -> Tensor:
        """Return which tokens (rows) see which (columns): (T * M, T * M) bool."""
        time = torch.arange(frames, device=device).repeat_interleave(self.tokens)
        age = time[:, None] - time
        return (age >= 0) & (age < self.history)

    def _init(self) -> None:
        """Draw the weights of blocks and head as V-JEPA does; AdaLN starts as the identity."""
        init_weights(self.blocks)
        init_weights(self.head)
        with torch.no_grad():
            for layer, block in enumerate(self.blocks, start=1):
                assert isinstance(block, FrameBlock)
                shrink(block.attn, block.mlp, layer)
                if isinstance(block, AdaLNBlock):
                    block.reset_modulation()


def _newest(kept: KeysValues, tokens: int) -> KeysValues:
    """Keep the last ``tokens`` keys and values, without a copy."""
    first = max(0, kept.keys.shape[-2] - tokens)
    return KeysValues(kept.keys[..., first:, :], kept.values[..., first:, :])
