"""The tables of positions that I-JEPA and V-JEPA store: of which grid they are, and whether they are as published."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from jepa.config.architecture import Architecture
from jepa.errors import CheckpointError
from jepa.types import Grid

TOLERANCE = 1e-4  # what is loaded uses the formula, from which a stored table may differ by rounding


class Formula(Protocol):
    """Makes the table of a grid and a width, (N, width)."""

    def __call__(self, grid: Grid, width: int, /, *, dtype: torch.dtype) -> Tensor:
        """Return the table of ``grid`` in ``dtype``."""


def table_of(formula: Formula, grid: Grid, width: int) -> Tensor:
    """Return the table of ``grid`` as the releases store it: (1, N, width), computed in float64, kept in float32."""
    return formula(grid, width, dtype=torch.float64).float().unsqueeze(0)


def clips_of_squares(tokens: int) -> list[Grid]:
    """Return all grids of so many tokens whose frames are square."""
    sides = (side for side in range(1, int(tokens**0.5) + 1) if tokens % side**2 == 0)
    return [Grid(tokens // side**2, side, side) for side in sides]


def without_checked_table(
    state: Mapping[str, Tensor],
    name: str,
    formula: Formula,
    source: str,
    *,
    grids: Iterable[Grid] | None = None,
) -> tuple[dict[str, Tensor], Grid]:
    """Take the table ``name`` out of ``state`` and tell its grid, one of ``grids`` or, by default, any of squares.

    Raises CheckpointError where it is missing, and where it is not that of ``formula`` on any such grid: what was
    learned with other positions would silently be wrong.
    """
    table = state.get(name)
    if table is None or table.ndim != 3 or len(table) != 1:
        what = "missing" if table is None else f"of shape {tuple(table.shape)}, not (1, N, width)"
        raise CheckpointError(f"{source}: {name} is {what}; use another file")
    _, tokens, width = table.shape
    allowed = clips_of_squares(tokens) if grids is None else grids
    fitting = [grid for grid in allowed if grid.tokens == tokens]
    apart = {grid: _apart(table, table_of(formula, grid, width)) for grid in fitting}
    best = min(apart, key=lambda grid: apart[grid], default=None)
    if best is None:
        raise CheckpointError(
            f"{source}: {name} is of {tokens} tokens, which is no grid that fits; use another file"
        )
    if not apart[best] <= TOLERANCE:
        raise CheckpointError(
            f"{source}: {name} differs from the published positions by {apart[best]:.3g} on a grid of {tuple(best)}, "
            f"more than {TOLERANCE:g}: it was trained with others, which this format does not hold; use another file"
        )
    return {key: value for key, value in state.items() if key != name}, best


def square_grid(architecture: Architecture, what: str, source: str) -> Grid:
    """Return the grid whose table tells all of the positions of an encoder.

    Raises CheckpointError where it has none, or one that does not go with its resolution: a reader would take
    other pixels, or interpolate.
    """
    model, side = architecture.model, architecture.resolution
    grid = Grid(*(model.position_grid or (0, 0, 0)))
    pixels = grid.height * model.patch
    if grid.height != grid.width or side not in (pixels, (pixels, pixels)):
        raise CheckpointError(
            f"{what} cannot hold {source}: its positions are those of one grid of square frames, to which others are "
            f"fitted; model.position_grid is {model.position_grid}, for {side} pixels in patches of {model.patch}"
        )
    return grid


def _apart(one: Tensor, other: Tensor) -> float:
    """Return the largest absolute difference."""
    return (one.float() - other).abs().max().item()
