"""Starts real processes that train together, over gloo."""

import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing as mp


def run_together(function: Callable[..., None], *arguments: Any, processes: int = 2) -> None:
    """Call ``function(*arguments)`` in so many processes whose environment is torchrun's; raises what they raise."""
    mp.spawn(_enter, (function, arguments, processes, free_port()), nprocs=processes)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def _enter(rank: int, function: Callable[..., None], arguments: tuple, processes: int, port: int) -> None:
    """Set the environment and the threads, then call."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        raise
