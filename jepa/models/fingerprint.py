"""A short name for exactly these weights, used in exactly this way."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import nn


def fingerprint(module: nn.Module | None, settings: Mapping[str, object]) -> str:
    """Return 32 hex digits that change with any weight of ``module`` and any of ``settings`` (plain values)."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for name, value in () if module is None else sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()
