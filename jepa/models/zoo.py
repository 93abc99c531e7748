"""The front of the formats: frozen encoders and world models, whoever wrote their weights."""

from pathlib import Path

from jepa.models.clip_encoder import ClipEncoder
from jepa.models.formats import find_format
from jepa.models.frozen import Frozen, Weights
from jepa.runtime.device import resolve_device


def load_encoder(source: str | Path, *, device: str = "auto", weights: Weights = "target") -> ClipEncoder:
    """Load a frozen encoder.

    ``source`` is a run directory (its newest checkpoint), a checkpoint or a file or folder of published weights,
    whose format is recognised; ``FORMAT:PATH`` where you know better; or ``timm:NAME``, a ViT of timm with its
    published weights, which are downloaded, or ``timm:NAME@FILE`` with the weights in a file.
    ``weights``: the EMA copy, as the papers probe it, or the encoder that was trained. Objectives without an
    EMA have one encoder, which is both. Raises CheckpointError when ``source`` holds none.
    """
    return load_frozen(source, device=device, weights=weights).encoder


def load_frozen(source: str | Path, *, device: str = "auto", weights: Weights = "target") -> Frozen:
    """Load an encoder as `load_encoder` does, with what its source says about its use."""
    found, place = find_format(str(source))
    frozen = found.load(place, weights)
    for part in frozen.networks:
        if part is not None:
            part.requires_grad_(False).eval().to(resolve_device(device))
    return frozen
