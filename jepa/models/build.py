"""Builds networks: those of an architecture, which is also what a pretraining config describes."""

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.config.schema import PretrainConfig
from jepa.models.encoder import Encoder
from jepa.models.frozen import Frozen, Networks
from jepa.models.positions import Positions
from jepa.models.predictor import Predictor
from jepa.runtime.seeding import seed_everything


def build_networks(architecture: Architecture) -> tuple[Encoder, Predictor | None]:
    """Build encoder and predictor with fresh weights from torch's global generator, in this order."""
    encoder = Encoder(
        architecture.model,
        video=architecture.video,
        image=architecture.image,
        resolution=architecture.resolution,
        mean=architecture.mean,
        std=architecture.std,
    )
    encoder.resize_to = architecture.resize_to
    if architecture.predictor is None:
        return encoder, None
    has = {"video": architecture.video, "image": architecture.image}
    return encoder, Predictor(
        architecture.predictor,
        dim=encoder.dim,
        patterns=architecture.patterns,
        positions=Positions.of(architecture.model),
        modalities=[name for name in has if has[name] and architecture.model.modality_tokens],
    )


def architecture_of(config: PretrainConfig) -> Architecture:
    """Return what a run of ``config`` trains."""
    data = config.data
    # I-JEPA's target blocks share one mask token; every other pattern has its own.
    image_patterns = 1 if config.objective.kind in ("ijepa", "joint") else len(config.masks.image)
    return Architecture(
        model=config.model,
        video=data.has_video,
        image=data.has_images,
        predictor=config.predictor,
        patterns=len(config.masks.video) * data.has_video + image_patterns * data.has_images,
        resolution=data.resolution,
        mean=data.mean,
        std=data.std,
    )


def trained_networks(config: PretrainConfig) -> tuple[Encoder, Predictor]:
    """Build what a run of ``config`` trains, with fresh weights from torch's global generator."""
    encoder, predictor = build_networks(architecture_of(config))
    assert predictor is not None
    return encoder, predictor


def untrained_networks(architecture: Architecture, seed: int) -> Networks:
    """Return frozen networks with the weights that a run with ``seed`` starts from."""
    seed_everything(seed, "weights")
    encoder, predictor = build_networks(architecture)
    if predictor is not None:
        predictor.requires_grad_(False).eval()
    return Networks(encoder.requires_grad_(False).eval(), predictor)


def tokens_depend_on(architecture: Architecture) -> dict[str, object]:
    """Return what the tokens depend on beside weights and pixels, in plain values."""
    aside = {"drop_path", "checkpoint_activations", "levels"}
    model = architecture.model.model_dump(mode="json", exclude=aside)
    return {"kind": "jepa", **model}


def frozen_networks(
    architecture: Architecture,
    networks: Networks,
    source: str,
    *,
    read: ReadConfig | None = None,
    pattern: int = 0,
    seed: int = 0,
) -> Frozen:
    """Put networks of ``architecture`` together with what their ``source`` says about their use."""
    return Frozen(
        source,
        networks,
        lambda seed: untrained_networks(architecture, seed),
        read=read,
        shape=tokens_depend_on(architecture),
        architecture=architecture,
        pattern=pattern,
        seed=seed,
    )
