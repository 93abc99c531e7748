"""What runs inside a job: a verb of `jepa` in a process of its own, started again after every preemption."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission, UncompletedJobError
from submitit.helpers import TorchDistributedEnvironment

from jepa.errors import RunError
from jepa.runtime.interrupts import INTERRUPTED, JOB_VARIABLE, Interrupts
from jepa.runtime.run_dir import write_text

STOPPED = (INTERRUPTED, -signal.SIGTERM, -signal.SIGUSR1, -signal.SIGUSR2)
REQUEUE = {"SIGUSR1", "SIGUSR2"}
LEFT = ("requeued", "failed", "cancelled")  # what the first task says that has left; or who cancelled the job
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
POLL_S = 0.1


@dataclass(frozen=True)
class JobCommand:
    """What submitit runs: ``jepa WORDS``, in one process for each task.

    This process only waits, so that a signal finds it ready at any moment of the verb's life. SIGUSR2, which SLURM
    sends some time before the end of the time limit, or at a preemption, stops the verb, which writes a checkpoint
    where it trains, and then requeues the job. SIGTERM does not say whether the job was cancelled or preempted: it
    stops the verb too, and leaves it to SLURM to end the job or to requeue it; where nothing follows, the verb goes on.
    """

    words: tuple[str, ...]
    """Of the command line, after ``jepa``."""
    cwd: str
    """Where paths in ``words`` and in the config are relative to."""
    grace_s: float = 90.0
    """How long the verb has for its step and its checkpoint before it is killed and the job requeued."""
    decision_s: float = 120.0
    """How long SIGTERM is waited on: SLURM kills what it cancels after KillWait, 30 s where nobody changed it."""

    def __call__(self) -> str:
        """Run the verb to its end; raises RunError, with the exit code, when it fails."""
        job = JobEnvironment()
        said = JobNote(Path(os.environ["SUBMITIT_FOLDER"]), job.job_id)
        note = said if job.global_rank == 0 else None  # the first task speaks, and decides for all
        environment = {name: value for name, value in os.environ.items() if name not in LAUNCHED}
        environment |= rank_variables(job) | {JOB_VARIABLE: job.job_id}
        while True:
            _write(note, "running")
            with Interrupts() as interrupts:
                code = run_verb(self.words, environment, interrupts, cwd=self.cwd, grace_s=self.grace_s)
                stopped = code in STOPPED or (code != 0 and interrupts.requested is not None)
                if stopped:
                    _write(note, "stopped", code)
                    _await_decision(interrupts, self.decision_s, said)
            if code == 0:
                _write(note, "done", code)
                return "done"
            if interrupts.received & REQUEUE:
                self._requeue(job, note, code)
            if "SIGINT" in interrupts.received:
                _write(note, "cancelled", code)
                raise SystemExit(130)
            if stopped and said.read()["state"] in LEFT:
                raise SystemExit(0)
            if not stopped:
                _write(note, "failed", code)
                raise RunError(f"`jepa {' '.join(self.words)}` ended with exit code {code}; its log says why")

    def checkpoint(self) -> DelayedSubmission:
        """Return what the requeued job runs: the same, which goes on from the newest checkpoint."""
        return DelayedSubmission(self)

    def _requeue(self, job: JobEnvironment, note: "JobNote | None", code: int) -> None:
        """Let submitit requeue the job; the handler that it installed for its signal does that, and exits."""
        _write(note, "requeued", code)
        try:
            signal.raise_signal(getattr(signal, f"SIG{job.USR_SIG}"))
        except (UncompletedJobError, subprocess.SubprocessError):  # too many times, or SLURM refuses
            _write(note, "failed", code)
            raise
        raise SystemExit(0)  # a task other than the first: that one requeues all


def rank_variables(job: JobEnvironment) -> dict[str, str]:
    """Return what torchrun would put into the environment of this task; nothing for a job of one task."""
    if job.num_tasks == 1:
        return {}
    ranks = TorchDistributedEnvironment()
    return {
        "RANK": str(ranks.rank),
        "WORLD_SIZE": str(ranks.world_size),
        "LOCAL_RANK": str(ranks.local_rank),
        "LOCAL_WORLD_SIZE": str(ranks.local_world_size),
        "MASTER_ADDR": ranks.master_addr if job.num_nodes > 1 else "127.0.0.1",
        "MASTER_PORT": str(ranks.master_port),
    }


def run_verb(
    words: Sequence[str], environment: Mapping[str, str], interrupts: Interrupts, *, cwd: str, grace_s: float
) -> int:
    """Run ``jepa WORDS`` and return its exit code; at a signal ask it to stop, and kill it after ``grace_s``."""
    # What it prints is for the log, with its progress: the output of this process may be a line of JSON.
    command = [sys.executable, "-u", "-m", "jepa", *words]
    verb = subprocess.Popen(command, env=environment, cwd=cwd, stdout=2)
    try:
        while (code := verb.poll()) is None:
            if interrupts.requested:
                verb.terminate()
                return verb.wait(grace_s)
            time.sleep(POLL_S)
        return code
    except subprocess.TimeoutExpired:
        verb.kill()
        return verb.wait()
    finally:
        if verb.poll() is None:
            verb.kill()


@dataclass(frozen=True)
class JobNote:
    """What a job says of itself in a small file, so that nobody has to unpickle its result."""

    folder: Path
    job_id: str

    @property
    def path(self) -> Path:
        """Where the file lies, beside the job's log."""
        return self.folder / f"{self.job_id}_state.json"

    def read(self) -> dict[str, Any]:
        """Return ``state`` (running, stopped, requeued, done, failed, cancelled), ``exit_code`` and ``starts``."""
        if not self.path.exists():
            return {"state": "submitted", "exit_code": None, "starts": 0}
        return dict(json.loads(self.path.read_text(encoding="utf-8")))

    def write(self, state: str, exit_code: int | None = None) -> None:
        """Note a state."""
        starts = self.read()["starts"] + (state == "running")
        write_text(self.path, json.dumps({"state": state, "exit_code": exit_code, "starts": starts}) + "\n")


def _await_decision(interrupts: Interrupts, seconds: float, said: JobNote) -> None:
    """Wait for what happens to the job: a signal to requeue it, an end by Ctrl-C or by the first task; or nothing."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not interrupts.received & (REQUEUE | {"SIGINT"}):
        if said.read()["state"] in LEFT:
            return
        time.sleep(POLL_S)


def _write(note: JobNote | None, state: str, exit_code: int | None = None) -> None:
    """Write the note of the first task."""
    if note is not None:
        note.write(state, exit_code)
