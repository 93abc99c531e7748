"""A benchmark as a declaration: its data, its protocol, its source, and what others scored."""

from typing import Self

from pydantic import model_validator

from jepa.config.data import SyntheticSource
from jepa.config.probe import ProbeProtocol
from jepa.config.section import Positive, Section


class Published(Section):
    """A score that somebody published."""

    model: str
    """Whose, in the words of the source."""
    score: float
    """In percent, but for R2 and mean absolute errors."""
    source: str
    """Paper, and table or section in it."""


class SurpriseProtocol(Section):
    """Matched pairs of possible and impossible videos, generated on first use (arXiv:2502.11831)."""

    path: str
    """Folder of the pairs, below the data folder."""
    pairs: Positive = 200
    """Pairs of each kind of violation."""
    seed: int = 1
    """Seed of the pairs; not that of the training videos."""


class DenseProtocol(Section):
    """Which object a patch shows, and where it goes: linear segmentation and mask propagation."""

    train: SyntheticSource
    """Generated videos to fit on; their exact masks are known."""
    test: SyntheticSource
    """Generated videos that are scored once."""


class Benchmark(Section):
    """A benchmark: exactly one of probe, surprise and dense says how it is scored."""

    title: str
    """Its name in full."""
    about: str
    """What is measured, in one or two sentences."""
    source: str
    """Paper or site of the data."""
    protocol: str
    """Whose protocol this is, and where it differs from theirs."""
    data: str
    """What must lie in the data folder, and how to get it."""
    needs: tuple[str, ...] = ()
    """Files and folders that must be there before anything is loaded, relative to the data folder."""
    generated: bool = False
    """The data is generated on first use, so no folder has to be given."""
    published: tuple[Published, ...] = ()
    """Scores of others under the same protocol."""
    probe: ProbeProtocol | None = None
    """Frozen features and heads; paths of its sources are relative to the data folder."""
    surprise: SurpriseProtocol | None = None
    dense: DenseProtocol | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("probe", "surprise", "dense") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of probe, surprise and dense, got {given or 'none'}")
        return self
