"""How long this process computed, apart from waiting for others."""

import time
from types import TracebackType
from typing import Self

import torch


class Stopwatch:
    """Adds up the time between entering and leaving; on a GPU, the time that its stream took, read at the end."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu, self._spans = device.type == "cuda", 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __enter__(self) -> Self:
        if self._on_gpu:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's
            self._events.append((first, last))
            self._events[-1][0].record()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spans += time.perf_counter() - self._began
        if self._on_gpu:
            self._events[-1][1].record()

    @property
    def seconds(self) -> float:
        """The time so far; on a GPU, whose work of the last span must be done."""
        if not self._on_gpu:
            return self._spans
        return sum(first.elapsed_time(last) for first, last in self._events) / 1000
