"""Which device, which precision, how many threads."""

from contextlib import AbstractContextManager

import torch

from jepa.errors import RunError


def resolve_device(name: str, number: int | None = None) -> torch.device:
    """Return the device called ``name``; auto is cuda, else mps, else cpu.

    ``number`` says which of several GPUs, where the name does not. Raises RunError when it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, is_there in there.items() if is_there)
    device = torch.device(name)
    if not there.get(device.type, False):
        raise RunError(f"device: {name!r} is not available here; set device to 'auto' or 'cpu'")
    return torch.device(name, number) if name == "cuda" and number is not None else device


def autocast(device: torch.device, dtype: str) -> AbstractContextManager[None]:
    """Run the forward pass in ``dtype`` (float32 or bfloat16); weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")
