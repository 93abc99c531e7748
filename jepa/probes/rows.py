"""Features as heads read them: a tensor or a file mapped into memory, a few rows at a time."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.errors import DataError


class RowsOnDisk(Protocol):
    """What is asked of an array that is read by rows."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]: ...


Rows = (
    Tensor | NDArray[Any] | RowsOnDisk
)  # (n, ...) float16, bfloat16 or float32; an array may be a memory map
BYTES_AT_ONCE = 2**26  # of float32, when every row is read once


def as_tensor(features: Rows) -> Tensor:
    """Return all features at once, as float32 on the CPU."""
    return take_rows(features, None)


def take_rows(features: Rows, index: Tensor | None, device: torch.device | str = "cpu") -> Tensor:
    """Read some rows, or all of them, as float32; ``index`` should ascend, so that a file is read forwards."""
    if isinstance(features, Tensor):
        rows = features.detach() if index is None else features.detach()[index.to(features.device)]
    else:
        # A fresh array in either case: torch does not take read-only memory.
        rows = torch.from_numpy(np.array(features) if index is None else features[index.numpy()])
    return rows.to(device).float()


def portions(features: Rows, index: Tensor | None = None) -> Iterator[Tensor]:
    """Yield row numbers of ``index``, or of all rows, in portions that are small in memory."""
    numbers = torch.arange(len(features)) if index is None else index
    row_bytes = 4 * max(1, int(np.prod(features.shape[1:])))
    at_once = max(1, BYTES_AT_ONCE // row_bytes)
    for first in range(0, len(numbers), at_once):
        yield numbers[first : first + at_once]


def check_rows(features: Rows, shape: tuple[int | None, ...], what: str, form: str) -> None:
    """Refuse features that are not finite or not (n, *shape), where None is any size; ``form`` says it in words.

    They are read once, in portions. Raises DataError.
    """
    wanted = (None, *shape)
    if len(features.shape) != len(wanted) or 0 in features.shape:
        raise DataError(f"{what} must be {form} and not empty, got {tuple(features.shape)}")
    if any(want not in (None, size) for want, size in zip(wanted, features.shape, strict=True)):
        raise DataError(
            f"{what} have shape {tuple(features.shape[1:])}, but the head was fitted on {shape}; "
            "give features of the same encoder"
        )
    bad, first = 0, -1
    for index in portions(features):
        is_bad = ~torch.isfinite(take_rows(features, index)).flatten(1).all(dim=1)
        if is_bad.any():
            bad, first = bad + int(is_bad.sum()), int(index[is_bad][0]) if first < 0 else first
    if bad:
        raise DataError(
            f"{what}: {bad} of {len(features)} rows hold NaN or infinity, first row {first}; "
            "look at the encoder's weights and at that clip"
        )
