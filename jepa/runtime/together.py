"""Starts this command again, as several processes of one machine that train together."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
GRACE_S = 30.0  # in which the others may end when one has failed
POLL_S = 0.2


def run_together(processes: int, command: Sequence[str]) -> int:
    """Run ``command`` in so many processes, with torchrun's environment variables; return 0, or a failure's code.

    A signal is handed to all of them, which end with a checkpoint. When one fails, the others are stopped.
    """
    with socket.socket() as free:  # torchrun, too, takes a port that is free at this moment
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    # Each process would take all cores for itself.
    cores = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            command,
            env={**cores, **os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            start_new_session=True,  # signals come from here alone
        )
        for rank in range(processes)
    ]

    def hand_on(number: int, frame: FrameType | None) -> None:
        for each in running:
            each.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in SIGNALS}
    try:
        return _wait(running)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command_again() -> list[str]:
    """Return the command line of this process."""
    return [sys.executable, "-m", "jepa", *sys.argv[1:]]


def is_one_of_several() -> bool:
    """Whether this process was started as one of those that train together."""
    return "WORLD_SIZE" in os.environ


def _wait(running: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait for all processes; when one fails, ask the others to end, and in the end make them."""
    codes = [each.poll() for each in running]
    while None in codes and not any(codes):
        time.sleep(POLL_S)
        codes = [each.poll() for each in running]
    failed = next((code for code in codes if code), 0)
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + GRACE_S
        for each in running if failed else ():
            each.send_signal(number)
        while failed and time.monotonic() < end and any(each.poll() is None for each in running):
            time.sleep(POLL_S)
    return failed if failed >= 0 else 128 - failed  # as a shell names the end by a signal
