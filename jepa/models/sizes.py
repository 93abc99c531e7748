"""The published ViT sizes, and three smaller ones for CPUs."""

from typing import NamedTuple

from jepa.config.method import SizeConfig
from jepa.errors import ConfigError


class ViTSize(NamedTuple):
    """Shape of a vision transformer."""

    width: int
    depth: int
    heads: int
    mlp_ratio: float


#                    width depth heads mlp_ratio
SIZES = {
    "nano": ViTSize(64, 4, 4, 4.0),
    "micro": ViTSize(128, 4, 4, 4.0),
    "mini": ViTSize(192, 6, 6, 4.0),
    "tiny": ViTSize(192, 12, 3, 4.0),
    "small": ViTSize(384, 12, 6, 4.0),
    "base": ViTSize(768, 12, 12, 4.0),
    "large": ViTSize(1024, 24, 16, 4.0),
    "huge": ViTSize(1280, 32, 16, 4.0),
    "giant": ViTSize(1408, 40, 22, 48 / 11),
    "gigantic": ViTSize(1664, 48, 26, 64 / 13),
}


def size(chosen: str | SizeConfig) -> ViTSize:
    """Return the size that is called so, or spelled out; raises ConfigError naming the known ones."""
    if isinstance(chosen, SizeConfig):
        return ViTSize(chosen.width, chosen.depth, chosen.heads, chosen.mlp_ratio)
    if chosen not in SIZES:
        raise ConfigError(f"model.size: {chosen!r} is not a known size; allowed: {', '.join(SIZES)}")
    return SIZES[chosen]
