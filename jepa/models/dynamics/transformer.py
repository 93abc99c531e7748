"""The transformer over frames that three dynamics models share: a band of history, and a memory for rollouts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.errors import ConfigError
from jepa.models.blocks import NORM_EPS, init_weights, shrink
from jepa.models.dynamics.base import Dynamics, KeysValues, Memory
from jepa.models.dynamics.block import AdaLNBlock, FrameBlock
from jepa.models.positions import Layout, Rotary, coordinates, rotary_at
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
        self.head_width = width // heads
        if self.head_width < 2 * self.axes:
            raise ConfigError(
                f"dynamics.heads: {heads} heads of {self.head_width} numbers cannot hold rotary positions along "
                f"{self.axes} axes; use at most {width // (2 * self.axes)} heads, or a larger width"
            )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.head = nn.Linear(width, dim)
        self._init()

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Predict with teacher forcing: (B, T, N, D), (B, T, A), (B, T, P) -> (B, T, N, D)."""
        x, _ = self._run(z, actions, proprio)
        return self._read(x)

    def start(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Memory:
        """Remember the frames before the newest: (B, T - 1, N, D), (B, T - 1, A), (B, T - 1, P)."""
        frames = z.shape[1]
        if frames == 0:
            return Memory()
        _, seen = self._run(z, actions, proprio)
        band = (self.history - 1) * self.tokens
        return Memory(frames, tuple(_newest(one, band) for one in seen))

    def step(
        self, z: Tensor, action: Tensor, memory: Memory, proprio: Tensor | None = None
    ) -> tuple[Tensor, Memory]:
        """Predict the frame after ``z``: (B, S, N, D), (B, S, A), (B, S, P) -> (B, S, N, D)."""
        shape = z.shape
        z = z.flatten(0, 1).unsqueeze(1)  # (B S, 1, N, D)
        action = action.flatten(0, 1).unsqueeze(1)  # (B S, 1, A)
        proprio = None if proprio is None else proprio.flatten(0, 1).unsqueeze(1)  # (B S, 1, P)
        x, seen = self._run(z, action, proprio, memory)
        return self._read(x).reshape(shape), self._extended(memory, seen)

    def _run(
        self, z: Tensor, actions: Tensor, proprio: Tensor | None, memory: Memory | None = None
    ) -> tuple[Tensor, list[KeysValues]]:
        """Run all blocks over frames, (R, T, ...) -> (R, T, M, W), and return the keys and values each block saw."""
        memory = memory or Memory()
        frames = z.shape[1]
        x, condition = self.embedding(z, actions, proprio)
        table = self._positions(memory.frames, frames, z.device)
        # The band of a single frame is everything that the memory has kept.
        mask = self._band(frames, z.device) if frames > 1 else None
        seen = []
        for layer, block in enumerate(self.blocks):
            past = [part[layer] for part in (memory.context, memory.imagined) if part]
            x, keys_values = block(x, table, condition, mask=mask, past=past)
            seen.append(keys_values)
        return x, seen

    def _read(self, x: Tensor) -> Tensor:
        """Turn the tokens of the patches into predictions: (..., M, W) -> (..., N, D)."""
        z = self.head(self.norm(x[..., -self.grid.tokens :, :]))
        return F.layer_norm(z, z.shape[-1:]) if self.normalise else z

    def _extended(self, memory: Memory, seen: Sequence[KeysValues]) -> Memory:
        """Add an imagined frame, the last in what it has ``seen``; drop what is older than `history` - 1 frames."""
        band = (self.history - 1) * self.tokens
        before = memory.imagined[0].keys.shape[-2] if memory.imagined else 0
        kept = min(band, before + self.tokens)
        return Memory(
            memory.frames + 1,
            tuple(_newest(one, band - kept) for one in memory.context),
            tuple(_newest(one, kept) for one in seen),
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
