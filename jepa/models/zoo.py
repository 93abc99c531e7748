"""Encoders by name: built from a config, or loaded from a run."""

from pathlib import Path
from typing import Literal

from jepa.config.schema import PretrainConfig
from jepa.errors import CheckpointError
from jepa.models.encoder import Encoder
from jepa.runtime.checkpoint import find_checkpoint, load_checkpoint
from jepa.runtime.device import resolve_device


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


def load_encoder(
    source: str | Path, *, device: str = "auto", weights: Literal["target", "encoder"] = "target"
) -> Encoder:
    """Load a frozen encoder from a run directory (its newest checkpoint) or a checkpoint file.

    ``weights``: the EMA copy, as the papers probe it, or the encoder that was trained. Objectives without an
    EMA have one encoder, which is both. Raises CheckpointError when ``source`` holds none.
    """
    state = load_checkpoint(find_checkpoint(source))
    config = PretrainConfig.model_validate(state["config"], strict=False)
    prefix = "target_encoder." if weights == "target" else "encoder."
    if not any(name.startswith(prefix) for name in state["objective"]):
        prefix = "encoder."
    found = {
        name.removeprefix(prefix): value
        for name, value in state["objective"].items()
        if name.startswith(prefix)
    }
    encoder = build_encoder(config)
    try:
        encoder.load_state_dict(found)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not hold the encoder that its config describes: {error}"
        ) from error
    return encoder.requires_grad_(False).eval().to(resolve_device(device))
