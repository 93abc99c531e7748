"""Signals that ask for an end become a request that the work reads between its steps."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self

JOB_VARIABLE = "JEPA_JOB"  # in the environment of a verb that a job or a sweep runs: whose part it is
INTERRUPTED = 75
"""Exit code of a verb that was interrupted inside a job, and goes on when it is started again (EX_TEMPFAIL)."""


def inside_job() -> bool:
    """Whether a job runs this process, and starts it again when it says that it was interrupted."""
    return JOB_VARIABLE in os.environ


class Interrupts:
    """While entered, the first signal sets ``requested``, and the work ends with what it has kept.

    SIGTERM, SIGUSR1 and SIGUSR2 come from schedulers, which send several of them, to every process of a job: those
    that follow change nothing. A second Ctrl-C interrupts at once, as usual.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.requested: str | None = None
        """The first signal that came."""
        self.received: set[str] = set()
        """All that came."""

    def __enter__(self) -> Self:
        try:
            self._before = {number: signal.signal(number, self._request) for number in self.SIGNALS}
        except ValueError:  # not the main thread (a notebook worker): signals go where they always went
            self._before = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.received.add(signal.Signals(number).name)
        self.requested = self.requested or signal.Signals(number).name
        if number == signal.SIGINT and signal.SIGINT in self._before:
            signal.signal(number, self._before.pop(signal.SIGINT))
