"""Devices and precision."""

import pytest
import torch

from jepa.errors import RunError
from jepa.runtime.device import autocast, resolve_device


def test_auto_finds_a_device_and_a_missing_one_is_refused() -> None:
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    assert resolve_device("cpu").type == "cpu"
    if not torch.backends.mps.is_available():
        with pytest.raises(RunError, match="'mps' is not available here; set device to 'auto' or 'cpu'"):
            resolve_device("mps")


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast_is_what_the_name_says(name: str, dtype: torch.dtype) -> None:
    with autocast(torch.device("cpu"), name):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype
