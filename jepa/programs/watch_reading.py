"""What a run directory says while the run goes on: its curves, its speed, its processes, and what is wrong."""

import json
import math
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jepa.config import yaml_text
from jepa.runtime.metrics import FILE_NAME, to_number
from jepa.runtime.run_dir import RunDir
from jepa.runtime.tail import Tail
from jepa.runtime.terminal import duration

RECENT = 10  # lines that speeds are averaged over
WAITING = 0.3  # of the time: more than this, and data is what the run waits for
SLOWER = 1.2  # times the median of the processes
SILENT_S = 120.0

Row = dict[str, Any]


@dataclass(frozen=True)
class RankView:
    """How one process of a run has been doing lately."""

    rank: int
    clips_per_s: float
    step_s: float
    data_wait: float
    """Fraction of its time."""
    slow: bool
    """Whether a step takes it 20 % longer than the median process, or it waits that much longer for data."""


@dataclass(frozen=True)
class RunView:
    """A run as it stands."""

    run: str
    step: int | None
    """The last that was logged."""
    steps: int | None
    """Of the whole run."""
    finished: bool
    silent_s: float | None
    """Seconds since the last line."""
    eta_s: float | None
    rows: Sequence[Row] = field(repr=False)
    ranks: tuple[RankView, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the curves, for JSON; numbers that are not finite as text."""
        own = {key: getattr(self, key) for key in ("run", "step", "steps", "finished", "silent_s", "eta_s")}
        last = {key: _for_json(value) for key, value in (self.rows[-1] if self.rows else {}).items()}
        ranks = [{key: _for_json(value) for key, value in vars(rank).items()} for rank in self.ranks]
        return {**own, "last": last, "ranks": ranks, "warnings": list(self.warnings)}

    def curve(self, name: str) -> list[float]:
        """Return all logged values of a signal."""
        return [float(row[name]) for row in self.rows if isinstance(row.get(name), int | float)]


class RunReader:
    """Look at one run directory again and again; what was read is not read twice."""

    def __init__(self, root: Path | str) -> None:
        self.run = RunDir(root)
        self._logs: dict[int, Log] = {0: Log(self.run.root / FILE_NAME)}
        self._steps: int | None = None

    def look(self) -> RunView:
        """Return the run as it stands now. Files that are not there yet, and lines that are cut, are waited for."""
        for path in self.run.root.glob("metrics-rank*.jsonl"):
            if match := re.fullmatch(r"metrics-rank(\d+)\.jsonl", path.name):
                self._logs.setdefault(int(match[1]), Log(path))
        for log in self._logs.values():
            log.update()
        rows = self._logs[0].rows
        step = int(rows[-1]["step"]) if rows else None
        ranks = rank_views({rank: log.rows for rank, log in self._logs.items() if log.rows})
        finished = self.run.summary.is_file()
        there = self.run.metrics.is_file()
        silent = time.time() - self.run.metrics.stat().st_mtime if there and rows else None
        steps = self._steps = self._steps or planned_steps(self.run)
        warnings = find_warnings(rows, ranks, None if finished else silent)
        if damaged := sum(log.damaged for log in self._logs.values()):
            warnings.append(f"{damaged} damaged lines in the log were left out")
        return RunView(
            run=str(self.run.root),
            step=step,
            steps=steps,
            finished=finished,
            silent_s=silent,
            eta_s=remaining_seconds(step, steps, step_seconds(rows)),
            rows=rows,
            ranks=ranks if len(ranks) > 1 else (),
            warnings=tuple(warnings),
        )


class Log:
    """The rows of one metrics file, as it grows."""

    def __init__(self, path: Path) -> None:
        self.rows: list[Row] = []
        self.damaged = 0
        self._tail = Tail(path)

    def update(self) -> None:
        """Add what was written; a file that was begun again, by a run that went on, is read anew."""
        restarts = self._tail.restarts
        lines = self._tail.lines()
        if self._tail.restarts != restarts:
            self.rows, self.damaged = [], 0
        for line in lines:
            if (row := read_row(line)) is not None:
                self.rows.append(row)
            else:
                self.damaged += 1


def read_row(line: str) -> Row | None:
    """Return the values of a line; None where it is damaged."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        return None
    return {name: to_number(value) for name, value in row.items()}


def planned_steps(run: RunDir) -> int | None:
    """Return the length of the run that its config names; None where it names none."""
    if not run.config.is_file():
        return None
    tree = yaml_text.read(run.config.read_text(encoding="utf-8"), str(run.config))
    optim = tree.get("optim") if isinstance(tree, dict) else None
    steps = optim.get("steps") if isinstance(optim, dict) else None
    return steps if isinstance(steps, int) else None


def step_seconds(rows: Sequence[Row]) -> float:
    """Return how long a step took lately; NaN where that cannot be said."""
    recent = rows[-RECENT - 1 :]
    if len(recent) < 2 or recent[-1]["step"] <= recent[0]["step"]:
        return math.nan
    seconds = sum(float(row.get("seconds", math.nan)) for row in recent[1:])
    return seconds / (recent[-1]["step"] - recent[0]["step"])


def own_seconds(rows: Sequence[Row]) -> float:
    """Return how long a step's forward pass, in which nobody is waited for, took lately; else the whole step."""
    own = recent_mean(rows, "forward_seconds")
    return own if math.isfinite(own) else step_seconds(rows)


def remaining_seconds(step: int | None, steps: int | None, pace: float) -> float | None:
    """Return how long the rest takes at ``pace`` seconds a step; None where that cannot be said."""
    if step is None or steps is None or not math.isfinite(pace):
        return None
    return max(0, steps - step) * pace


def recent_mean(rows: Sequence[Row], name: str) -> float:
    """Return the mean of a signal over the last lines that have it; NaN where none has."""
    values = [float(row[name]) for row in rows[-RECENT:] if isinstance(row.get(name), int | float)]
    return statistics.fmean(values) if values else math.nan


def rank_views(logs: Mapping[int, Sequence[Row]]) -> tuple[RankView, ...]:
    """Compare the processes of a run. Those that train in step wait for the slowest, whose own wait for data tells."""
    paces = {rank: own_seconds(rows) for rank, rows in logs.items()}
    waits = {rank: recent_mean(rows, "data_wait") for rank, rows in logs.items()}
    pace, wait = (_median(values.values()) for values in (paces, waits))
    return tuple(
        RankView(
            rank=rank,
            clips_per_s=recent_mean(rows, "clips_per_s"),
            step_s=paces[rank],
            data_wait=waits[rank],
            slow=paces[rank] > SLOWER * pace or waits[rank] > wait + SLOWER - 1,
        )
        for rank, rows in sorted(logs.items())
    )


def find_warnings(rows: Sequence[Row], ranks: Sequence[RankView], silent_s: float | None) -> list[str]:
    """Return what a reader must not miss; ``silent_s`` is None for a run that has ended."""
    found = []
    waiting = recent_mean(rows, "data_wait")
    if waiting > WAITING:
        found.append(
            f"{100 * waiting:.0f}% of the time is waiting for data: raise data.workers, or read smaller or nearer files"
        )
    for rank in ranks:
        if rank.slow:
            found.append(
                f"rank {rank.rank} is slower than the others: {rank.step_s:.3g} s a step, "
                f"{100 * rank.data_wait:.0f}% of it waiting for data"
            )
    losses = [row["loss"] for row in rows[-RECENT:] if isinstance(row.get("loss"), float)]
    if any(not math.isfinite(loss) for loss in losses):
        found.append("the loss is not finite")
    if rows and rows[-1].get("bad_files"):
        found.append(f"{rows[-1]['bad_files']:.0f} files could not be read; bad_files.jsonl names them")
    between = recent_mean(rows, "seconds")
    usual = between if math.isfinite(between) else 0.0
    if silent_s is not None and silent_s > max(SILENT_S, 5 * usual):
        found.append(f"no new line for {duration(silent_s)}; the run may be over, or hang")
    return found


def _median(values: Any) -> float:
    """Return the median of the numbers among ``values``; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan


def _for_json(value: Any) -> Any:
    """Return text for numbers that JSON does not have."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
