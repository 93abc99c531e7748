"""What every decoding process does first."""

import signal

from jepa.runtime.interrupts import Interrupts


def leave_signals_to_the_parent(_: int) -> None:
    """Ignore in a worker what asks the training process for an end: Ctrl-C, SIGTERM and a scheduler's signals.

    They reach the whole process group; the training process answers by finishing its step and writing a checkpoint,
    for which it needs its workers alive. They end when it closes the loader, or dies.
    """
    for number in Interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
