"""Read files of weights that cannot run code, whoever wrote them."""

from pathlib import Path
from typing import Any

import torch

from jepa.errors import CheckpointError


def read_weights(path: Path) -> Any:
    """Return what a .safetensors or a .pt file holds, on the CPU.

    Raises CheckpointError when it is missing, damaged, or would run code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give a run directory or a file of weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - damaged files raise many kinds; all are reported, none is hidden
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "it is damaged or holds code. Use another copy"
        ) from error
