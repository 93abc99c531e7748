"""A verb that runs elsewhere, or several times: as jobs, or as a sweep in this terminal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import RenderableType

from jepa.programs import sweep as sweeps
from jepa.programs.follow import follow as follow_logs
from jepa.programs.submit import Options, submit_works, work_of
from jepa.programs.sweep import SweepRow, plan_sweep, run_in_turn, table_rows
from jepa.runtime.job_list import ENDED, JobRecord
from jepa.runtime.slurm import Resources
from jepa.runtime.terminal import Progress


@dataclass(frozen=True)
class Launched:
    """What was submitted, and what came of it as far as it is known."""

    records: tuple[JobRecord, ...] = ()
    states: tuple[str, ...] = ()
    """Of each job; submitted, where it was not followed."""
    rows: tuple[SweepRow, ...] = ()
    """Of a sweep that has ended."""

    @property
    def well(self) -> bool:
        """Whether nothing failed."""
        ended = [*self.states, *(row.status for row in self.rows)]
        return not {"failed", "cancelled", "lost"} & set(ended)

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        jobs = [
            asdict(record) | {"state": state} for record, state in zip(self.records, self.states, strict=True)
        ]
        return {"jobs": jobs, "sweep": [row.to_dict() for row in self.rows]}

    def render(self) -> RenderableType:
        """Return the table of a sweep, or a line for every job."""
        if self.rows:
            return sweeps.render(self.rows)
        jobs = zip(self.records, self.states, strict=True)
        return "\n".join(f"job {job.id}: {state}  {job.run_dir}" for job, state in jobs)


def launch(
    verb: str,
    options: Options,
    *,
    sweep: Sequence[str] = (),
    resources: Resources | None = None,
    follow: bool = True,
) -> Launched:
    """Run ``verb`` as a job, as a job array of a sweep, or a sweep's runs one after another without ``resources``.

    Raises ConfigError for a config that is wrong, before anything is submitted, and RunError where submitting fails.
    """
    planned = plan_sweep(verb, options, sweep) if sweep else None
    if resources is None:
        assert planned is not None
        return Launched(rows=tuple(run_in_turn(planned)))
    works = planned.works if planned else (work_of(verb, options),)
    folder = planned.root / "jobs" if planned else works[0].jobs_dir
    records = submit_works(works, resources, folder)
    told = Progress(0)
    for record in records:
        told.note(f"job {record.id} submitted; log: {record.log}")
    if not follow:
        return Launched(tuple(records), ("submitted",) * len(records))
    found = follow_logs(records)
    states = tuple(found[record.id] for record in records)
    if not set(states) <= set(ENDED):
        told.note("the job goes on; `jepa jobs` shows where it stands, and `jepa jobs --cancel ID` ends it")
        return Launched(tuple(records), states)
    return Launched(tuple(records), states, tuple(table_rows(planned, states)) if planned else ())
