"""One process at a time trains in a run directory."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jepa.errors import RunError

NAME = ".lock"


@contextmanager
def locked(run_dir: Path, *, hold: bool = True) -> Iterator[None]:
    """Hold the lock of ``run_dir``, which the system releases when this process ends, however it ends.

    Of processes that train together, one does; the others do not ``hold`` it. Nor do processes that this one forks:
    a decoding process may live for a while after it.

    Raises RunError, naming the holder, where another process has it.
    """
    if not hold:
        yield
        return
    path = run_dir / NAME
    with path.open("a+", encoding="utf-8") as file:
        os.register_at_fork(after_in_child=file.close)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise RunError(
                f"run_dir: {run_dir} is in use by {file.read().strip() or 'another process'}; wait for it, stop it, "
                "or give another run_dir"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
