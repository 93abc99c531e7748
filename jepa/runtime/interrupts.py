"""SIGTERM and Ctrl-C become a request that the loop reads between steps."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """While entered, the first signal sets ``requested``; a second Ctrl-C interrupts at once as usual."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.requested: str | None = None

    def __enter__(self) -> Self:
        try:
            self._before = {number: signal.signal(number, self._request) for number in self.SIGNALS}
        except ValueError:  # not the main thread (a notebook worker): signals go where they always went
            self._before = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
