"""JEPA: masked latent prediction on video, honest probes of frozen encoders, planning in latent space."""

import importlib

__version__ = "0.1.0"

# Resolved on first use, so that `import jepa` and `jepa --help` do not import torch.
_LAZY = {
    "Encoder": "jepa.models.encoder",
    "load_encoder": "jepa.models.zoo",
    "load_config": "jepa.config.load",
    "pretrain": "jepa.programs.pretrain",
}

__all__ = ["Encoder", "__version__", "load_config", "load_encoder", "pretrain"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'jepa' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
