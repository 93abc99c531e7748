"""The logs of jobs, line by line as they are written, until the jobs end."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from jepa.runtime.job_list import ENDED, JobRecord, states
from jepa.runtime.jobs import JobNote
from jepa.runtime.tail import Tail
from jepa.runtime.terminal import table_console

POLL_S = 0.5
ASK_S = 20.0  # how often the scheduler is asked
LOST_AFTER = 3  # times it must not know a job: accounting is late


def follow(records: Sequence[JobRecord]) -> dict[str, str]:
    """Print what the jobs log to stderr until they end; return their states by id.

    Ctrl-C ends the printing alone, and the states are then those of that moment.
    """
    logs = [Tail(Path(record.log)) for record in records]
    found = {record.id: "submitted" for record in records}
    missing = dict.fromkeys(found, 0)
    asked = time.monotonic()
    try:
        while not all(state in ENDED for state in found.values()):
            time.sleep(POLL_S)
            for record in records:
                found[record.id] = JobNote(Path(record.folder), record.id).read()["state"]
            if time.monotonic() - asked > ASK_S:
                asked = time.monotonic()
                for number, state in states(records).items():
                    missing[number] = missing[number] + 1 if state == "lost" else 0
                    if state != "lost" or missing[number] >= LOST_AFTER:
                        found[number] = state
            _show(records, logs)
    except KeyboardInterrupt:
        found = states(records)
    return found


def _show(records: Sequence[JobRecord], logs: Sequence[Tail]) -> None:
    """Print new lines, with the name of the run where there are several."""
    console = table_console(stderr=True)
    for record, log in zip(records, logs, strict=True):
        for line in log.lines():
            own = f"[{record.name or record.id}] " if len(records) > 1 else ""
            console.print(Text(f"{own}{line}"), soft_wrap=True)
