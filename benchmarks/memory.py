"""The largest memory that torch's operations hold at a time, on any device, counted by their storages."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Follow every storage that torch's operations make, and remember the largest sum of those alive."""

    def __init__(self, *held: Tensor) -> None:
        super().__init__()
        self.alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.largest = 0
        for tensor in held:
            self.follow(tensor)

    def follow(self, tensor: Tensor) -> None:
        """Count the tensor's storage from now on; of a DTensor, that of its local part."""
        storage = getattr(tensor, "_local_tensor", tensor).untyped_storage()
        self.alive[storage._cdata] = weakref.ref(storage)

    def bytes(self) -> int:
        """Return the bytes that are alive now; FSDP resizes storages, so each is asked anew."""
        storages = {key: reference() for key, reference in self.alive.items()}
        self.alive = {key: self.alive[key] for key, storage in storages.items() if storage is not None}
        return sum(storage.nbytes() for storage in storages.values() if storage is not None)

    def __torch_dispatch__(
        self, operation: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves((result, args)):
            if isinstance(leaf, Tensor):
                self.follow(leaf)
        self.largest = max(self.largest, self.bytes())
        return result
