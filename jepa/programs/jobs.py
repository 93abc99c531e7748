"""`jepa jobs`: what was submitted, where it stands, and its end."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from jepa.errors import RunError
from jepa.runtime.job_list import ENDED, JobRecord, cancel, recall, states
from jepa.runtime.metrics import last_step
from jepa.runtime.run_dir import RunDir

SHOWN = 20  # of those that have ended


@dataclass(frozen=True)
class Job:
    """One job, as it stands now."""

    record: JobRecord
    state: str
    step: int | None
    """The last that was logged; None where nothing was."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {**asdict(self.record), "state": self.state, "step": self.step}


def jobs(*, everything: bool = False) -> list[Job]:
    """Return the jobs of this user, oldest first: all that have not ended, and the last 20 of the others."""
    records = recall()
    found = states(records)
    ended = [record.id for record in records if found[record.id] in ENDED]
    hidden = set() if everything else set(ended[:-SHOWN])
    return [
        Job(record, found[record.id], last_step(RunDir(record.run_dir).metrics))
        for record in records
        if record.id not in hidden
    ]


def cancel_jobs(wanted: str) -> list[Job]:
    """Cancel a job, all parts of an array, or ``all`` that have not ended; return those that were.

    Raises RunError for an id that is not on the list, and when nothing is left to cancel.
    """
    listed = jobs(everything=True)
    chosen = [job for job in listed if wanted in ("all", job.record.id, job.record.id.partition("_")[0])]
    if not chosen:
        known = ", ".join(job.record.id for job in listed if job.state not in ENDED) or "none"
        raise RunError(f"job {wanted} is not on the list; jobs that have not ended: {known}")
    running = [job for job in chosen if job.state not in ENDED]
    if not running and wanted != "all":
        raise RunError(f"job {wanted} has ended ({chosen[-1].state}); there is nothing to cancel")
    for job in running:
        cancel(job.record)
    return [Job(job.record, "cancelled", job.step) for job in running]


def render(found: Sequence[Job]) -> Table | str:
    """Return the table, newest last."""
    if not found:
        return "no jobs; `jepa pretrain CONFIG --slurm PARTITION` submits one"
    table = Table(title="Jobs")
    for title in ("job", "verb", "state", "step", "run", "log"):
        table.add_column(title, justify="right" if title == "step" else "left", overflow="fold")
    for job in found:
        step = "" if job.step is None else f"{job.step:,}"
        own = job.record
        words = own.command.split()[1:]
        verb = " ".join(words[: 2 if words[0] == "data" else 1])
        table.add_row(own.id, verb, job.state, step, _short(own.run_dir), _short(own.log))
    return table


def _short(path: str) -> str:
    """Return the path from this folder, where it lies below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
