"""The MLP head: what one hidden layer finds in pooled features."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.probes.grid import GridProbe
from jepa.probes.rows import portions, take_rows
from jepa.probes.solve import inverse_deviation
from jepa.probes.training import Network, Samples, Weights


@dataclass(kw_only=True, eq=False)
class MlpProbe(GridProbe):
    """One hidden GELU layer on features (n, D), each standardised by the training part; a grid as ``GridProbe``."""

    hidden: int = 512
    """Width of the hidden layer; 0 is a linear head."""

    form: ClassVar[str] = "(samples, width)"

    def __post_init__(self) -> None:
        """Raise ValueError for settings that cannot be."""
        super().__post_init__()
        if self.hidden < 0:
            raise ValueError(f"hidden must be 0 or more, got {self.hidden}")

    def _shape(self) -> tuple[int | None, ...]:
        return (None,) if self._seen is None else self._seen

    def _build(self, samples: Samples, outputs: int) -> Network:
        mean, scale = _moments(samples)
        return MlpNetwork(mean.to(self.device), scale.to(self.device), self.hidden, outputs)


@dataclass(frozen=True, slots=True, eq=False)
class MlpNetwork:
    """The arithmetic of G such heads at once."""

    mean: Tensor  # (D,)
    scale: Tensor  # (D,), 0 for a feature that is constant
    hidden: int
    outputs_width: int

    def start(self, draw: torch.Generator) -> Weights:
        """Draw one head's weights."""
        sizes = [len(self.mean), *([self.hidden] if self.hidden else []), self.outputs_width]
        weights: Weights = {}
        for layer, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), 1):
            weights |= start_linear(f"fc{layer}", inputs, outputs, draw)
        return weights

    def share(self, rows: Tensor) -> Tensor:
        """Standardise: (B, D) -> (B, D)."""
        return (rows - self.mean) * self.scale

    def outputs(self, weights: Mapping[str, Tensor], shared: Tensor) -> Tensor:
        """Answer: (B, D) -> (G, B, C)."""
        x = apply_linear(weights, "fc1", shared.expand(len(weights["fc1.weight"]), -1, -1))
        return apply_linear(weights, "fc2", F.gelu(x)) if self.hidden else x

    def floats(self, samples: int) -> int:
        """Return about how many numbers one head keeps for its gradient."""
        return samples * (3 * self.hidden + 4 * self.outputs_width)


def start_linear(name: str, inputs: int, outputs: int, draw: torch.Generator) -> Weights:
    """Draw weight (in, out) and bias of a linear layer, uniformly up to 1 / sqrt(in) as torch does.

    A stack of such weights gets its gradient in the order in which it lies in memory; of (out, in) it would not.
    """
    reach = 1 / math.sqrt(inputs)
    return {
        f"{name}.weight": torch.empty(inputs, outputs).uniform_(-reach, reach, generator=draw),
        f"{name}.bias": torch.empty(outputs).uniform_(-reach, reach, generator=draw),
    }


def apply_linear(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Apply G linear layers: (G, B, in) -> (G, B, out)."""
    return torch.baddbmm(weights[f"{name}.bias"][:, None], x, weights[f"{name}.weight"])


def _moments(samples: Samples) -> tuple[Tensor, Tensor]:
    """Return mean and inverse deviation of each feature, read in portions; a constant one gets 0."""
    count, first = len(samples), take_rows(samples.features, samples.index[:1]).double()
    total = square = torch.zeros(first.shape[1], dtype=torch.double)
    for index in portions(samples.features, samples.index):
        values = take_rows(samples.features, index).double() - first  # a large mean would cost digits
        total, square = total + values.sum(dim=0), square + values.square().sum(dim=0)
    mean = total / count
    deviation = (square / count - mean.square()).clamp_min(0).sqrt()
    return (first[0] + mean).float(), inverse_deviation(first[0] + mean, deviation).float()
