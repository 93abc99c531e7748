"""What a file or folder of weights is, of any known format; no more of it is read than that takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.models.build import architecture_of
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.formats import find_format
from jepa.models.formats.base import Format, Source
from jepa.models.formats.card import encoder_rows, world_model_rows
from jepa.models.formats.exported import Exported
from jepa.models.timm_vit import TimmEncoder
from jepa.models.world_model import LatentWorldModel
from jepa.preprocess import height_width
from jepa.runtime.weights import check_file, find_weights

MEASURED = ("running_mean", "running_var", "num_batches_tracked", "fingerprint", "mean", "std", "directions")


@dataclass(frozen=True)
class ShownWeights:
    """What is known of weights."""

    source: str
    format: str
    title: str
    """What the format is, for people."""
    kind: str
    """encoder or world-model."""
    facts: Mapping[str, str]
    """What it is, by the names of its parts and settings."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Numbers in the weights, by the parts that it holds."""
    step: int | None = None
    """Step of a checkpoint."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        names = ("source", "format", "title", "kind", "step")
        return {name: getattr(self, name) for name in names} | {
            "facts": dict(self.facts),
            "parameters": dict(self.parameters),
        }

    def render(self) -> str:
        """Return everything as text."""
        held = {f"{part} weights": f"{count:,} parameters" for part, count in self.parameters.items()}
        step = {} if self.step is None else {"checkpoint": f"step {self.step:,}"}
        rows = {"format": f"{self.format}: {self.title}", "holds": self.kind, **step, **self.facts, **held}
        width = max(map(len, rows)) + 2
        return "\n".join([self.source, *(f"  {name:{width}}{value}" for name, value in rows.items())])


def show_weights(text: str) -> ShownWeights:
    """Say what lies at a path, or at FORMAT:PATH.

    Raises CheckpointError for what cannot be read, and for what is of no known format, naming what is in it.
    """
    found, source = find_format(text)
    if found.name != "timm":
        source.check_exists()
    if isinstance(found, Exported):
        return _exported(found, source)
    if found.name == "run":
        return _checkpoint(found, source)
    is_world_model = found.holds_world_model(source)
    facts: dict[str, str]
    parts: dict[str, int]
    if found.is_program:
        files = sorted(source.path.iterdir()) if source.path.is_dir() else [source.path]
        facts = {file.name: f"{file.stat().st_size / 1e6:,.1f} MB" for file in files}
        facts, parts = {**facts, "use": "it is run as it is, and cannot be trained on"}, {}
    elif is_world_model:
        facts, parts = _world_model(found.load_world_model(source))
    else:
        facts, parts = _encoder(found, source)
    kind = "world-model" if is_world_model else "encoder"
    return ShownWeights(text, found.name, found.title, kind, facts, parts)


def _exported(found: Exported, source: Source) -> ShownWeights:
    """Describe an exported folder from its config.json."""
    config = found.read_config(source)
    check_file(find_weights(source.path))
    if config.architecture is not None:
        facts = encoder_rows(config.architecture)
    else:
        described = config.run or config.world_model
        assert described is not None
        facts = world_model_rows(described)
    notes = config.notes
    known = {
        "exported from": f"{config.source}, by jepa {config.jepa}",
        "training": notes.training or "not stated",
        "licence": notes.licence or "none stated",
    }
    numbers = {number.what: f"{number.measure} {number.value:.4g}" for number in notes.numbers}
    return ShownWeights(
        source.text, found.name, found.title, config.kind, facts | known | numbers, config.parameters
    )


def _checkpoint(found: Format, source: Source) -> ShownWeights:
    """Describe a checkpoint of a run from the config in it and the shapes of its tensors."""
    state, is_world_model = source.state, found.holds_world_model(source)
    if is_world_model:
        world = WorldModelConfig.model_validate(state["config"], strict=False)
        facts, steps = world_model_rows(world), world.optim.steps
    else:
        config = PretrainConfig.model_validate(state["config"], strict=False)
        facts, steps = encoder_rows(architecture_of(config)), config.optim.steps
        facts["objective"] = config.objective.kind
    facts["run"] = f"{state['config']['run_dir']}, of {steps:,} steps"
    facts["also holds"] = ", ".join(sorted(set(state) - {"objective", "config", "format", "step", "program"}))
    weights = state["objective"] | {f"value.{name}": value for name, value in state.get("value", {}).items()}
    kind = WorldModelConfig.program if is_world_model else "encoder"
    return ShownWeights(
        source.text, found.name, found.title, kind, facts, _by_part(weights), int(state["step"])
    )


def _encoder(found: Format, source: Source) -> tuple[dict[str, str], dict[str, int]]:
    """Describe an encoder that has to be loaded for it."""
    if found.name == "timm" and "@" not in source.text and not source.path.exists():
        encoder: ClipEncoder = TimmEncoder(source.text)  # the shape, without fetching the weights
        return _other_encoder(encoder), {"encoder": _count(encoder)}
    frozen = found.load(source, "target")
    facts = (
        _other_encoder(frozen.encoder) if frozen.architecture is None else encoder_rows(frozen.architecture)
    )
    if frozen.read is not None:
        facts["clips in training"] = f"{frozen.read.frames_per_clip} frames"
    parts = {name: _count(part) for name, part in frozen.networks._asdict().items() if part is not None}
    return facts, parts


def _other_encoder(encoder: ClipEncoder) -> dict[str, str]:
    """Describe an encoder of another library."""
    blocks = [module for module in encoder.modules() if type(module).__name__ == "Block"]
    height, width = height_width(encoder.resolution)
    return {
        "encoder": f"ViT, width {encoder.dim}" + (f", depth {len(blocks)}" if blocks else ""),
        "takes": "images; each frame of a clip alone",
        "resolution": f"{height} x {width} pixels",
        "token": f"{encoder.patch} x {encoder.patch} pixels",
    }


def _world_model(model: nn.Module) -> tuple[dict[str, str], dict[str, int]]:
    """Describe a world model that had to be loaded for it."""
    assert isinstance(model, LatentWorldModel)
    facts = {} if model.architecture is None else world_model_rows(model.architecture)
    height, width = height_width(model.resolution)
    facts |= {
        "latents": f"{model.frames.tokens} tokens of {model.frames.dim} numbers per frame of {height} x {width} pixels",
        "actions": f"{model.action_size} numbers per model step",
        "proprioception": f"{model.proprio_size} numbers" if model.proprio_size else "none",
        "context": f"{model.history} frames",
    }
    hidden = getattr(model.frames, "encoder", None)
    parts = {"encoder": _count(hidden)} if isinstance(hidden, ClipEncoder) else {}
    parts |= {name: _count(part) for name, part in model.named_children()}
    return facts, {name: count for name, count in parts.items() if count}


def _count(module: nn.Module) -> int:
    """Count parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def _by_part(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Count the parameters of each part of a state dict; a world model's parts are one name further down."""
    counts: dict[str, int] = {}
    for name, value in weights.items():
        part, _, rest = name.removeprefix("world_model.").partition(".")
        # What is measured rather than learned: statistics of actions, of batches and of latents, and a fingerprint.
        if part != "scaling" and rest.rpartition(".")[2] not in MEASURED:
            counts[part] = counts.get(part, 0) + value.numel()
    return counts
