"""JEPA: masked latent prediction on video, honest probes of frozen encoders, planning in latent space."""

import importlib

__version__ = "0.1.0"

# Resolved on first use, so that `import jepa` and `jepa --help` do not import torch.
_LAZY = {
    "Encoder": "jepa.models.encoder",
    "load_encoder": "jepa.models.zoo",
    "load_config": "jepa.config.load",
    "load_world_model": "jepa.models.world_model",
    "pretrain": "jepa.programs.pretrain",
    "train_world_model": "jepa.programs.world_model",
    "plan": "jepa.programs.plan",
    "probe": "jepa.programs.probe",
    "embed": "jepa.programs.embed",
    "search": "jepa.programs.search",
    "health": "jepa.programs.health_report",
    "benchmark": "jepa.programs.benchmark",
    "compare": "jepa.programs.compare",
    "LinearProbe": "jepa.probes.linear",
    "MlpProbe": "jepa.probes.mlp",
    "AttentiveProbe": "jepa.probes.attentive",
    "load_probe": "jepa.probes.published",
    "KnnProbe": "jepa.probes.knn",
}

# Rooms that are used by their own names: `jepa.planning.CEM(...)`.
_ROOMS = ("envs", "planning")

__all__ = [
    "AttentiveProbe",
    "Encoder",
    "KnnProbe",
    "LinearProbe",
    "MlpProbe",
    "__version__",
    "benchmark",
    "compare",
    "embed",
    "envs",
    "health",
    "load_config",
    "load_encoder",
    "load_probe",
    "load_world_model",
    "plan",
    "planning",
    "pretrain",
    "probe",
    "search",
    "train_world_model",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name in _ROOMS:
        return importlib.import_module(f"jepa.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'jepa' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
