"""Where a token stands: rotary tables, see `jepa.models.rotary`, or fixed sin-cos embeddings that are added.

Positions are functions of the token grid alone, so any resolution and length works, and they are computed
once per forward pass, not once per block.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.config.method import ModelConfig
from jepa.models.rotary import BASE, Layout, Rotary, coordinates, rotary_at
from jepa.types import Grid

Fit = Literal["edges", "corners"]
"""How the places of another grid than the trained one are fitted in, see `Positions.rotary`."""


def sincos(
    grid: Grid, width: int, device: torch.device | None = None, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return fixed 3-D sin-cos embeddings, (N, width): a third of the channels per axis (V-JEPA, section 3.1).

    Where ``width`` is no multiple of 6, the last channels of the width axis are cut off, as in the released code.
    """
    half = -(-width // 6)
    frequency = BASE ** (-torch.arange(half, dtype=dtype, device=device) / half)
    angle = coordinates(grid, device, dtype=dtype).unsqueeze(-1) * frequency  # (N, 3, half)
    return torch.cat((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :width]


def sincos_2d(
    grid: Grid, width: int, device: torch.device | None = None, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return fixed sin-cos embeddings of width and height, (N, width), the same at all times (I-JEPA, released code).

    The first half of the channels tells the column, the second the row; in each, sines come before cosines.
    Raises ValueError where ``width`` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"width must be a multiple of 4, got {width}")
    quarter = width // 4
    frequency = BASE ** (-torch.arange(quarter, dtype=dtype, device=device) / quarter)
    angle = coordinates(grid, device, dtype=dtype)[:, [2, 1]].unsqueeze(-1) * frequency  # (N, 2, quarter)
    return torch.cat((angle.sin(), angle.cos()), dim=-1).flatten(1)


@dataclass(frozen=True, slots=True)
class Positions:
    """How tokens are told where they stand: an embedding added before the blocks, or rotary tables inside them."""

    kind: Literal["rotary", "sincos", "sincos-2d"] = "rotary"
    layout: Layout = "paired"
    trained: Grid | None = None
    """The grid that the weights were trained on; None takes every grid as it is."""
    fit: Fit = "edges"

    @classmethod
    def of(cls, config: ModelConfig) -> Self:
        """Return the positions that ``config`` asks for."""
        trained = None if config.position_grid is None else Grid(*config.position_grid)
        return cls(config.positions, config.rotary_layout, trained, config.position_fit)

    def rotary(self, grid: Grid, head_width: int, device: torch.device | None = None) -> Rotary | None:
        """Return the tables for the tokens of ``grid``, (N, d), or None where positions are added.

        Tokens of another grid than the trained one stand between its places: with ``edges`` the frame keeps its
        extent, and the clip its length; with ``corners`` the first and last row and column keep their places, and
        time is as it is (V-JEPA 2.1, released code, app/vjepa_2_1/models/utils/modules.py, `interpolate_rope`).
        """
        if self.kind != "rotary":
            return None
        places = coordinates(grid, device)
        if self.trained is not None and self.fit == "edges":
            places = places * places.new_tensor([t / g for t, g in zip(self.trained, grid, strict=True)])
        elif self.trained is not None:
            steps = zip(self.trained[1:], grid[1:], strict=True)
            places = places * places.new_tensor([1.0, *((t - 1) / max(1, g - 1) for t, g in steps)])
        return rotary_at(places, head_width, layout=self.layout)

    def added(self, grid: Grid, width: int, device: torch.device | None = None) -> Tensor | None:
        """Return what is added to the tokens of ``grid``, (N, width), or None for rotary positions.

        The table of the trained grid is interpolated to another grid, in space bicubically for images and
        trilinearly for videos, shorter ones too (V-JEPA, facebookresearch/jepa, src/models/vision_transformer.py).
        """
        if self.kind == "rotary":
            return None
        make = sincos if self.kind == "sincos" else sincos_2d
        trained = grid if self.trained is None else self.trained
        table = make(trained, width, device)
        if grid == trained:
            return table
        volume = table.T.reshape(1, width, *trained)
        if trained.time == grid.time == 1:
            image = F.interpolate(volume[:, :, 0], size=grid[1:], mode="bicubic")
            return image.flatten(2)[0].T
        return F.interpolate(volume, size=tuple(grid), mode="trilinear").flatten(2)[0].T
