"""One process at a time holds a run directory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepa.errors import RunError
from jepa.runtime.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from jepa.runtime.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=rf"is in use by process {first.pid} on .*; wait for it, stop it"):
            with locked(tmp_path):
                pass
        first.kill()  # no chance to clean up
        first.wait()
    with locked(tmp_path):
        pass


def test_it_is_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            pass


def test_others_of_the_same_training_do_not_hold_it(tmp_path: Path) -> None:
    with locked(tmp_path), locked(tmp_path, hold=False):
        pass


def test_what_was_forked_does_not_hold_it(tmp_path: Path) -> None:
    """A decoding process that outlives a killed run, for a while or because it hangs."""
    mine, its = os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(its, b"!")
            time.sleep(60)
            os._exit(0)
        os.read(mine, 1)  # it lives
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_fork_gives_nothing_back(tmp_path: Path) -> None:
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        done = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, check=False)
        assert b"is in use by process" in done.stderr
