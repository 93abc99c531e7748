"""Processes of one machine are started, signalled and ended together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from jepa.runtime.together import run_together

SAY = """
import os, sys
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
open(sys.argv[1] + os.environ["RANK"], "w").write(" ".join(os.environ[name] for name in names))
"""
FAIL = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(3)\ntime.sleep(60)"
WAIT = """
import os, signal, sys, time
def end(number, frame):
    open(sys.argv[1] + os.environ["RANK"], "a").write(signal.Signals(number).name)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1] + os.environ["RANK"], "w").write("ready ")
time.sleep(60)
"""
STARTER = """
import sys
from jepa.runtime.together import run_together
sys.exit(run_together(2, [sys.executable, "-c", sys.argv[1], sys.argv[2]]))
"""


def command(code: str, root: Path) -> list[str]:
    return [sys.executable, "-c", code, str(root / "rank")]


def test_each_knows_its_rank_and_all_meet_at_one_place(tmp_path: Path) -> None:
    assert run_together(3, command(SAY, tmp_path)) == 0
    said = [(tmp_path / f"rank{rank}").read_text().split() for rank in range(3)]
    assert [words[:3] for words in said] == [[str(rank), str(rank), "3"] for rank in range(3)]
    assert len({tuple(words[3:]) for words in said}) == 1


def test_one_that_fails_ends_the_others(tmp_path: Path) -> None:
    began = time.monotonic()
    assert run_together(2, command(FAIL, tmp_path)) == 3
    assert time.monotonic() - began < 25


def test_a_signal_reaches_all(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER, WAIT, str(tmp_path / "rank")]) as starter:
        files = [tmp_path / f"rank{rank}" for rank in range(2)]
        deadline = time.monotonic() + 60
        while not all(file.exists() and file.read_text() for file in files) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(starter.pid, signal.SIGTERM)
        assert starter.wait(timeout=60) == 0
    assert [file.read_text() for file in files] == ["ready SIGTERM"] * 2
