"""Entry points of torch.hub: torch.hub.load("path/to/jepa", "jepa_encoder", "path/to/weights", source="local")."""

from torch import nn

dependencies = ["torch", "torchvision", "timm", "safetensors", "pydantic", "yaml", "numpy"]


def jepa_encoder(source: str, /, device: str = "cpu", weights: str = "target") -> nn.Module:
    """Load a frozen encoder of clips: (B, 3, T, H, W) -> (B, N, D); ``preprocess`` makes clips from frames.

    ``source`` is what `jepa.load_encoder` takes: a run, an exported folder, published weights, FORMAT:PATH or
    timm:NAME. ``weights`` is target, the EMA copy, or encoder, what was trained.
    """
    from jepa import load_encoder

    return load_encoder(source, device=device, weights=weights)


def jepa_world_model(source: str, /, device: str = "cpu") -> nn.Module:
    """Load a frozen world model, as `jepa.load_world_model` does: frames in, imagined latents out."""
    from jepa import load_world_model

    return load_world_model(source, device=device)
