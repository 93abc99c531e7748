"""The jobs a user submitted, where they stand, and how they end.

The list is one file per user, not one per run directory: a job is found again from any folder and any login node that
shares the home directory. It holds nothing but pointers; what a job has done lies in its run directory.
"""

import getpass
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from submitit.slurm.slurm import SlurmInfoWatcher

from jepa.errors import RunError
from jepa.runtime.jobs import JobNote

ENDED = ("done", "failed", "cancelled", "lost")
"""States that nothing follows. lost: the job is gone, and left no word."""
SLURM_ENDED = ("failed", "timeout", "node_fail", "out_of_memory", "boot_fail", "deadline")


@dataclass(frozen=True)
class JobRecord:
    """One job that was submitted."""

    id: str
    """As SLURM counts, with _N for a part of an array; of a local job the process."""
    cluster: str
    """slurm or local."""
    folder: str
    """Where submitit keeps its files."""
    run_dir: str
    command: str
    log: str
    submitted: str
    """Time, ISO 8601."""
    name: str = ""
    """What tells it from the others of a sweep."""


def list_path() -> Path:
    """Return where the list lies: ~/.cache/jepa/jobs.jsonl, or below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jepa" / "jobs.jsonl"


def remember(records: Iterable[JobRecord]) -> None:
    """Add jobs to the list. Raises RunError where it cannot be written."""
    path = list_path()
    text = "".join(json.dumps(asdict(record)) + "\n" for record in records)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder you can write to"
        ) from error


def recall() -> list[JobRecord]:
    """Return the jobs of the list, oldest first. Raises RunError for a damaged line."""
    path = list_path()
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            records.append(JobRecord(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise RunError(f"{path}: line {number} is damaged ({error}); remove it") from error
    return records


def states(records: Sequence[JobRecord]) -> dict[str, str]:
    """Return the state of every job by its id, in lower case; ``unknown`` where SLURM cannot be asked.

    What the job said of itself last, corrected by SLURM, or by the process table, when it has not ended by that.
    """
    notes = {record.id: JobNote(Path(record.folder), record.id).read()["state"] for record in records}
    asked = [record.id for record in records if record.cluster == "slurm" and notes[record.id] not in ENDED]
    scheduled = slurm_states(asked) if asked else {}
    found = {}
    for record in records:
        note = notes[record.id]
        if note in ENDED:
            found[record.id] = note
        elif record.cluster == "slurm":
            found[record.id] = scheduled.get(record.id, "lost") if scheduled is not None else "unknown"
        else:
            found[record.id] = note if is_alive(record) else "lost"
    return found


def slurm_states(ids: Sequence[str]) -> dict[str, str] | None:
    """Ask sacct for jobs that may have ended, and squeue for those that have not; None where there is neither."""
    jobs = ",".join(sorted({one.partition("_")[0] for one in ids}))
    asked = [
        ["sacct", "--allocations", "--parsable2", "--noheader", "--format=JobID,State", f"--jobs={jobs}"],
        ["squeue", "--noheader", "--format=%i|%T", f"--user={getpass.getuser()}"],
    ]
    answers = [_answer(one) for one in asked if shutil.which(one[0])]
    told = [answer for answer in answers if answer is not None]
    return None if not told else {number: state for answer in told for number, state in answer.items()}


def cancel(record: JobRecord) -> None:
    """End a job. Raises RunError where that fails."""
    if record.cluster == "slurm":
        if shutil.which("scancel") is None:
            raise RunError(
                f"job {record.id}: there is no scancel on this machine; cancel it from a login node"
            )
        done = subprocess.run(["scancel", record.id], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunError(f"job {record.id}: scancel says: {done.stderr.strip()}")
    elif is_alive(record):
        os.kill(int(record.id), signal.SIGINT)  # what submitit's own cancel sends
    JobNote(Path(record.folder), record.id).write("cancelled")


def is_alive(record: JobRecord) -> bool:
    """Whether the process of a local job is there, and still the same."""
    done = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", record.id], capture_output=True, text=True, check=False
    )
    return "submitit.local._local" in done.stdout and record.folder in done.stdout


def _answer(ask: Sequence[str]) -> dict[str, str] | None:
    """Return the states that a command prints, as lines of id|STATE; None when it fails, as without accounting."""
    done = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return None
    told = SlurmInfoWatcher().read_info(f"JobID|State\n{done.stdout}")  # knows arrays, 7_[0-3%2]
    # "CANCELLED by 1000" is cancelled; what SLURM ended for another reason has failed.
    found = {number: row["State"].split()[0].lower().rstrip("+") for number, row in told.items()}
    ends = {"completed": "done", **dict.fromkeys(SLURM_ENDED, "failed")}
    return {number: ends.get(state, state) for number, state in found.items()}
