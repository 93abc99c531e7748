"""Which device, which precision, how many threads."""

from contextlib import AbstractContextManager

import torch

from jepa.errors import RunError


def resolve_device(name: str) -> torch.device:
    """Return the device called ``name``; auto is cuda, else mps, else cpu. Raises RunError when it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    kind = torch.device(name).type
    if not there.get(kind, False):
        raise RunError(f"device: {name!r} is not available here; set device to 'auto' or 'cpu'")
    return torch.device(name)


def autocast(device: torch.device, dtype: str) -> AbstractContextManager[None]:
    """Run the forward pass in ``dtype`` (float32 or bfloat16); weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")
