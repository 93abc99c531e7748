"""Are the actions found that a recording took from a frame to a later one, and where is the energy lowest?"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from jepa.errors import DataError


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far proposed actions are from recorded ones, in deviations of the recorded actions."""

    each: float
    """Mean over pairs, steps and numbers of the absolute difference."""
    first: float
    """Of the first action alone, the one that a planner executes."""
    total: float
    """Of the actions' mean over the steps: what leads to the goal, in whichever order it is done."""

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers."""
        return asdict(self)


def recovery(proposed: Tensor, recorded: Tensor, *, std: Tensor) -> Recovery:
    """Compare actions (B, H, A) with recorded ones (B, H, A); ``std``, (A,), is the recorded actions' deviation.

    Raises DataError where the shapes differ.
    """
    if proposed.shape != recorded.shape or proposed.shape[-1:] != std.shape:
        raise DataError(
            f"proposed actions {tuple(proposed.shape)}, recorded {tuple(recorded.shape)} and deviations "
            f"{tuple(std.shape)} do not fit; needed are (B, H, A), the same, and (A,)"
        )
    error = (proposed - recorded) / std
    return Recovery(
        each=float(error.abs().mean()),
        first=float(error[:, 0].abs().mean()),
        total=float(error.mean(1).abs().mean()),
    )


@dataclass(frozen=True, slots=True)
class Landscape:
    """The mean energy around recorded actions, over two of their numbers (V-JEPA 2-AC, arXiv:2506.09985, section 4)."""

    axes: tuple[int, int]
    """Which numbers of the action."""
    offsets: tuple[tuple[float, ...], tuple[float, ...]]
    """What is added to each of the two, in every step; 0 is the recorded action."""
    energy: tuple[tuple[float, ...], ...]
    """Energy, by the second offset and then the first; each pair's is scaled to [0, 1] before the mean."""

    @property
    def lowest(self) -> tuple[float, float]:
        """The offsets of the lowest energy; (0, 0) for a model that knows what the recorded action does."""
        row, column = divmod(int(torch.tensor(self.energy).argmin()), len(self.offsets[0]))
        return self.offsets[0][column], self.offsets[1][row]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return asdict(self) | {"lowest": list(self.lowest)}


@torch.inference_mode()
def landscape(
    energy: Callable[[Tensor], Tensor],
    recorded: Tensor,
    *,
    axes: tuple[int, int],
    reach: Tensor,
    side: int = 21,
) -> Landscape:
    """Measure ``energy``, (B, S, H, A) -> (B, S), around recorded actions (B, H, A).

    The two numbers ``axes`` move by up to ``reach``, (2,), in ``side`` steps each; the others stay as recorded.
    """
    steps = [torch.linspace(-float(r), float(r), side) for r in reach]
    second, first = torch.meshgrid(steps[1], steps[0], indexing="ij")  # (side, side)
    offsets = torch.zeros(side * side, recorded.shape[-1])
    offsets[:, axes[0]], offsets[:, axes[1]] = first.flatten(), second.flatten()
    moved = recorded[:, None] + offsets[None, :, None].to(recorded)  # (B, side * side, H, A)
    values = energy(moved)
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    mean = ((values - low) / (high - low).clamp(min=1e-30)).mean(0).view(side, side)
    return Landscape(
        axes,
        (tuple(steps[0].tolist()), tuple(steps[1].tolist())),
        tuple(tuple(row) for row in mean.tolist()),
    )
