"""A frozen encoder, and what its source says about its use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.predictor import Predictor

Weights = Literal["target", "encoder"]
"""The EMA copy, as the papers probe it, or the encoder that was trained."""


class Networks(NamedTuple):
    """What was trained: an encoder, and the predictor where there is one."""

    encoder: ClipEncoder
    predictor: Predictor | None = None


@dataclass(frozen=True)
class Frozen:
    """A frozen encoder, and what else its source says."""

    source: str
    networks: Networks
    untrained: Callable[[int], Networks]
    """Builds the same with fresh weights, from a seed."""
    read: ReadConfig | None
    """How clips were cut in training; None where the source does not say."""
    shape: Mapping[str, object]
    """What the tokens depend on beside the weights, in plain values."""
    architecture: Architecture | None = None
    """What the networks are, where they are of this library; None for others."""
    pattern: int = 0
    """Which of the predictor's mask tokens stands for the future."""
    seed: int = 0
    """Seed of the run it comes from; `untrained` of it is the encoder as it was before step 0."""

    @property
    def encoder(self) -> ClipEncoder:
        """The frozen encoder."""
        return self.networks.encoder
