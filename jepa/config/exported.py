"""What `config.json` of an exported folder says: what the weights are, and what is known of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.config.section import Positive, Section
from jepa.config.world_model import WorldModelArchitecture, WorldModelConfig

VERSION = 1


class Number(Section):
    """A measured number."""

    what: str
    """What was measured, and on what."""
    measure: str
    """The measure: accuracy, ..."""
    value: float
    """Its value; shares are from 0 to 1."""
    low: float | None = None
    """Lower end of its 95 % interval, where it was measured."""
    high: float | None = None
    """Upper end."""
    deviation: float | None = None
    """Standard deviation over seeds, where there were several."""


class Notes(Section):
    """What is known of weights beside their shape."""

    licence: str | None = None
    """Licence of the weights; null where none was stated."""
    training: str | None = None
    """How they were trained, in a line."""
    data: tuple[str, ...] = ()
    """What they were trained on: names, without the folders they lay in."""
    protocol: tuple[str, ...] = ()
    """How the numbers were measured."""
    numbers: tuple[Number, ...] = ()
    """What was measured."""


class ExportedConfig(Section):
    """An exported folder."""

    format: Literal["jepa"] = "jepa"
    """The format's name."""
    version: Positive = VERSION
    """The format's version."""
    jepa: str
    """Version of the library that wrote it."""
    kind: Literal["encoder", "world-model"]
    """What the weights are."""
    source: str
    """What they were exported from, without its folder."""
    parameters: dict[str, int]
    """Numbers in the weights, by part."""
    architecture: Architecture | None = None
    """Encoder and predictor, of an encoder."""
    read: ReadConfig | None = None
    """How clips were cut in training, where it is known."""
    pattern: Annotated[int, Field(ge=0)] = 0
    """Which of the predictor's mask tokens stands for the future."""
    seed: int = 0
    """Seed of the training run."""
    run: WorldModelConfig | None = None
    """The training run, of a world model that was trained here; it says what the world model is."""
    world_model: WorldModelArchitecture | None = None
    """What a world model is that was trained elsewhere."""
    notes: Notes = Notes()
    """What else is known."""

    @model_validator(mode="after")
    def _describes_its_kind(self) -> Self:
        given = [key for key in ("architecture", "run", "world_model") if getattr(self, key) is not None]
        allowed = ["architecture"] if self.kind == "encoder" else ["run", "world_model"]
        if len(given) != 1 or given[0] not in allowed:
            raise ValueError(
                f"kind {self.kind} needs {' or '.join(allowed)} alone, got {', '.join(given) or 'none'}"
            )
        return self
