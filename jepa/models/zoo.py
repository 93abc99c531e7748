"""Encoders by name: built from a config, or loaded with everything a frozen encoder is used with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from jepa.config.data import ReadConfig
from jepa.config.schema import PretrainConfig
from jepa.errors import CheckpointError
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.encoder import Encoder
from jepa.models.predictor import Predictor
from jepa.models.timm_vit import TimmEncoder, load_timm
from jepa.runtime.checkpoint import find_checkpoint, load_checkpoint
from jepa.runtime.device import resolve_device
from jepa.runtime.seeding import seed_everything

Weights = Literal["target", "encoder"]


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
    pattern: int = 0
    """Which of the predictor's mask tokens stands for the future."""
    seed: int = 0
    """Seed of the run it comes from; `untrained` of it is the encoder as it was before step 0."""

    @property
    def encoder(self) -> ClipEncoder:
        """The frozen encoder."""
        return self.networks.encoder


def build_encoder(config: PretrainConfig) -> Encoder:
    """Build the encoder that ``config`` describes, with fresh weights from torch's global generator."""
    data = config.data
    return Encoder(
        config.model,
        video=data.has_video,
        image=data.has_images,
        resolution=data.resolution,
        mean=data.mean,
        std=data.std,
    )


def build_networks(config: PretrainConfig) -> tuple[Encoder, Predictor]:
    """Build the encoder and the predictor that ``config`` describes, with fresh weights, in this order."""
    encoder = build_encoder(config)
    # I-JEPA's target blocks share one mask token; every other pattern has its own.
    image_patterns = 1 if config.objective.kind in ("ijepa", "joint") else len(config.masks.image)
    patterns = len(config.masks.video) * config.data.has_video + image_patterns * config.data.has_images
    positions = config.model.positions
    return encoder, Predictor(config.predictor, dim=encoder.dim, patterns=patterns, positions=positions)


def untrained_networks(config: PretrainConfig, seed: int) -> Networks:
    """Return encoder and predictor with the weights that a run of ``config`` with ``seed`` starts from."""
    seed_everything(seed, "weights")
    encoder, predictor = build_networks(config)
    return Networks(encoder.requires_grad_(False).eval(), predictor.requires_grad_(False).eval())


def load_encoder(source: str | Path, *, device: str = "auto", weights: Weights = "target") -> ClipEncoder:
    """Load a frozen encoder.

    ``source`` is a run directory (its newest checkpoint), a checkpoint file, ``timm:NAME``, a ViT of timm with its
    published weights, which are downloaded, or ``timm:NAME@FILE`` with the weights in a file.
    ``weights``: the EMA copy, as the papers probe it, or the encoder that was trained. Objectives without an
    EMA have one encoder, which is both. Raises CheckpointError when ``source`` holds none.
    """
    return load_frozen(source, device=device, weights=weights).encoder


def load_frozen(source: str | Path, *, device: str = "auto", weights: Weights = "target") -> Frozen:
    """Load an encoder as `load_encoder` does, with what its source says about its use."""
    prefix, colon, name = str(source).partition(":")
    frozen = (
        LOADERS[prefix](name, weights) if colon and prefix in LOADERS else _from_run(str(source), weights)
    )
    for part in frozen.networks:
        if part is not None:
            part.requires_grad_(False).eval().to(resolve_device(device))
    return frozen


def _from_run(source: str, weights: Weights) -> Frozen:
    """Load a run directory or a checkpoint."""
    state = load_checkpoint(find_checkpoint(source))
    config = PretrainConfig.model_validate(state["config"], strict=False)
    prefix = "target_encoder." if weights == "target" else "encoder."
    if not any(name.startswith(prefix) for name in state["objective"]):
        prefix = "encoder."
    encoder, predictor = build_networks(config)
    try:
        encoder.load_state_dict(_below(prefix, state["objective"]))
        predictor.load_state_dict(_below("predictor.", state["objective"]))
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not hold the encoder that its config describes: {error}"
        ) from error
    read = ReadConfig(**{key: getattr(config.data, key) for key in ReadConfig.model_fields})
    shape = {"kind": "jepa", **config.model.model_dump(mode="json")}
    networks = Networks(encoder, predictor)
    kinds = [mask.kind for mask in config.masks.video]
    return Frozen(
        source,
        networks,
        lambda seed: untrained_networks(config, seed),
        read,
        shape,
        pattern=kinds.index("causal") if "causal" in kinds else 0,
        seed=config.seed,
    )


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _from_timm(name: str, weights: Weights) -> Frozen:
    """Load a model of timm; it has one set of weights."""
    model = name.partition("@")[0]

    def untrained(seed: int) -> Networks:
        seed_everything(seed, "weights")
        return Networks(TimmEncoder(model).requires_grad_(False).eval())

    return Frozen(f"timm:{name}", Networks(load_timm(name)), untrained, None, {"kind": "timm", "name": model})


LOADERS: dict[str, Callable[[str, Weights], Frozen]] = {"timm": _from_timm}
"""What stands before the colon of a source, and what reads the rest."""
