"""Processes as submitit starts them for a job, and a verb in place of `jepa` that needs no torch."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from submitit.core.utils import DelayedSubmission

from jepa.runtime.jobs import JobCommand, JobNote
from tests.policy.source import ROOT

VERB = """
import json, os, signal, sys, time
from pathlib import Path

mode, goal = sys.argv[1], int(sys.argv[2])
stop = []
if mode != "plain":  # plain dies of SIGTERM, as a verb does before its first step
    signal.signal(signal.SIGTERM, lambda *_: mode == "deaf" or stop.append(1))
rank = os.environ.get("RANK", "0")
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "JEPA_JOB")
Path(f"environment-{rank}.json").write_text(json.dumps({n: os.environ[n] for n in names if n in os.environ}))
file = Path(f"steps-{rank}.jsonl")
done = len(file.read_text().splitlines()) if file.exists() else 0
while done < goal:
    if stop:
        sys.exit(75)
    done += 1
    with file.open("a") as opened:
        opened.write(json.dumps({"step": done, "pid": os.getpid()}) + "\\n")
    time.sleep(0.03)
print("a result")
sys.exit(3 if mode == "failing" else 0)
"""
JOB = "7"


def write_verb(folder: Path) -> Path:
    """Put a package called jepa into ``folder``: it counts steps in a file, and goes on where it stopped."""
    (folder / "jepa").mkdir(parents=True)
    (folder / "jepa" / "__init__.py").touch()
    (folder / "jepa" / "__main__.py").write_text(VERB)
    return folder


@dataclass
class Task:
    """The process of one task of a job, with the signals and the exit code that a scheduler sees."""

    folder: Path
    cwd: Path
    rank: int = 0
    size: int = 1
    process: subprocess.Popen | None = None

    def submit(self, *words: str, grace_s: float = 5.0, decision_s: float = 30.0) -> "Task":
        """Write what submitit writes."""
        command = JobCommand(words, str(self.cwd), grace_s, decision_s)
        delayed = DelayedSubmission(command)
        delayed.set_timeout(60 * 24, 9)
        self.folder.mkdir(parents=True, exist_ok=True)
        delayed.dump(self.folder / f"{JOB}_submitted.pkl")
        return self

    def start(self) -> "Task":
        """Start the process, as the scheduler does, at first and after every requeue."""
        environment = os.environ | {
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_JOB_ID": JOB,
            "SUBMITIT_LOCAL_NTASKS": str(self.size),
            "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
            "SUBMITIT_LOCAL_NODEID": "0",
            "SUBMITIT_LOCAL_GLOBALID": str(self.rank),
            "SUBMITIT_LOCAL_LOCALID": str(self.rank),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "submitit.core._submit", str(self.folder)]
        self.process = subprocess.Popen(
            command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        return self

    def send(self, number: int) -> None:
        """Send the task a signal."""
        self.process.send_signal(number)

    def ends(self, seconds: float = 20.0) -> int:
        """Return the exit code."""
        return self.process.wait(seconds)

    def reaches(self, step: int) -> None:
        """Wait until the verb has done so many steps."""
        wait_for(lambda: len(self.steps()) >= step)

    def steps(self) -> list[dict]:
        """The steps that were done, and by which process each."""
        path = self.cwd / f"steps-{self.rank}.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def note(self) -> dict:
        """What the job says of itself."""
        return JobNote(self.folder, JOB).read()

    @property
    def verb(self) -> int:
        """The process that did the last step."""
        return self.steps()[-1]["pid"]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return when ``condition`` holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def stop_all(number: int, *pids: int) -> None:
    """Send a signal to several processes, as SLURM does to all of a job."""
    for pid in pids:
        os.kill(pid, number)


REQUEUED = 144  # submitit's local executor starts the tasks again when one exits with it
