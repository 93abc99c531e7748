"""What every decoding process does first."""

import signal


def leave_signals_to_the_parent(_: int) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker.

    Both reach the whole process group; the training process answers by finishing its step and writing a checkpoint,
    for which it needs its workers alive. They end when it closes the loader, or dies.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
