"""`--sweep KEY=V1,V2`: a run for every combination of values, in a job array or one after another, and their table."""

import hashlib
import json
import math
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table

from jepa.errors import ConfigError
from jepa.programs.submit import FOLDERS_OF_DATA, Options, Work, work_of
from jepa.runtime.interrupts import INTERRUPTED, JOB_VARIABLE, Interrupts
from jepa.runtime.jobs import JobNote, run_verb
from jepa.runtime.run_dir import RunDir, write_text
from jepa.runtime.terminal import Progress, number

COLUMNS = 4  # scores that a table shows; the file has all
GRACE_S = 300.0

Settings = tuple[tuple[str, str], ...]
"""Keys of the config, and a value of each as it was written."""


@dataclass(frozen=True)
class SweepRow:
    """How one run of a sweep ended."""

    settings: Settings
    run_dir: Path
    status: str
    """done, failed, interrupted, or the state of its job."""
    numbers: dict[str, float]
    """From its summary.json."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        numbers = {
            name: value if math.isfinite(value) else str(value) for name, value in self.numbers.items()
        }
        own = {"settings": dict(self.settings), "run_dir": str(self.run_dir), "status": self.status}
        return {**own, "numbers": numbers}


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, and where it keeps what is of them all."""

    root: Path
    """The run directory that the config names; those of the runs have its name and their settings."""
    settings: tuple[Settings, ...]
    works: tuple[Work, ...]


def plan_sweep(verb: str, options: Options, texts: Sequence[str]) -> Sweep:
    """Resolve the runs of all combinations. Raises ConfigError for a bad sweep, and for any bad config among them."""
    combinations = list(product(*(_values(text) for text in texts)))
    keys = [key for key, _ in combinations[0]]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(
            f"--sweep {twice[0]}: is given twice; give all its values at once, {twice[0]}=1,2,3"
        )
    if "run_dir" in keys:
        raise ConfigError("--sweep run_dir: every run of a sweep gets a directory of its own; leave it out")
    if "overrides" not in options:
        raise ConfigError(f"--sweep {keys[0]}: jepa {verb} has no config whose settings could be swept")
    place = "out" if verb in FOLDERS_OF_DATA else "run_dir"
    root = work_of(verb, _with(options, combinations[0])).run_dir
    works, problems = [], []
    for combination in combinations:
        name = _name(combination)
        own = {**_with(options, combination), place: Path(f"{root}-{name}")}
        try:
            works.append(_named(work_of(verb, own), name))
        except ConfigError as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return Sweep(root, tuple(combinations), tuple(works))


def run_in_turn(sweep: Sweep) -> list[SweepRow]:
    """Run all works one after another, each in a process of its own; those that are done already are kept.

    One that fails does not keep the others from running. After Ctrl-C or SIGTERM the same command goes on.
    """
    shown = Progress(len(sweep.works), unit="run")
    statuses: dict[str, str] = {}
    with Interrupts() as interrupts:
        for count, work in enumerate(sweep.works, start=1):
            if interrupts.requested:
                statuses[work.name] = "not begun"
                continue
            shown.note(f"run {count}/{len(sweep.works)}  {work.name}")
            statuses[work.name] = run_work(work, interrupts)
    return table_rows(sweep, [statuses[work.name] for work in sweep.works])


def run_work(work: Work, interrupts: Interrupts) -> str:
    """Run one verb to its end, unless the same was; return done, failed or interrupted."""
    words = work.freeze()
    work.jobs_dir.mkdir(parents=True, exist_ok=True)
    note = JobNote(work.jobs_dir, hashlib.blake2b(shlex.join(words).encode(), digest_size=4).hexdigest())
    if note.read()["state"] == "done":
        return "done"
    note.write("running")
    environment = {**os.environ, JOB_VARIABLE: "sweep"}
    code = run_verb(words, environment, interrupts, cwd=str(Path.cwd()), grace_s=GRACE_S)
    stopped = code == INTERRUPTED or (code != 0 and interrupts.requested)
    status = "done" if code == 0 else "interrupted" if stopped else "failed"
    note.write(status, code)
    return status


def table_rows(sweep: Sweep, statuses: Sequence[str]) -> list[SweepRow]:
    """Read what the runs ended with, and write it to sweep.json."""
    rows = [
        SweepRow(settings, work.run_dir, status, final_numbers(work.run_dir) if status == "done" else {})
        for settings, work, status in zip(sweep.settings, sweep.works, statuses, strict=True)
    ]
    sweep.root.mkdir(parents=True, exist_ok=True)
    listed = {"runs": [row.to_dict() for row in rows]}
    write_text(sweep.root / "sweep.json", json.dumps(listed, indent=2) + "\n")
    return rows


def render(rows: Sequence[SweepRow]) -> Table:
    """Return the table: settings, how each run ended, and its numbers."""
    table = Table(title="Sweep")
    names = list(dict.fromkeys(name for row in rows for name in row.numbers))[:COLUMNS]
    keys = [key for key, _ in rows[0].settings]
    for title in (*keys, "status", *names):
        table.add_column(title, justify="left" if title == "status" else "right")
    for row in rows:
        numbers = [number(row.numbers[name]) if name in row.numbers else "" for name in names]
        table.add_row(*(value for _, value in row.settings), row.status, *numbers)
    return table


def final_numbers(run_dir: Path) -> dict[str, float]:
    """Return the scores of the trained model in summary.json, and its last loss; nothing where there is no summary."""
    from jepa.probes.table import PRETRAINED
    from jepa.programs.run_results import load_results

    run = RunDir(run_dir)
    if not run.summary.is_file():
        return {}
    scores = load_results(run_dir).scores
    numbers = {
        " ".join(part for part in (what.task, what.head, what.measure) if part): score.value
        for what, score in scores.items()
        if what.features in (PRETRAINED, "")
    }
    last = json.loads(run.summary.read_text(encoding="utf-8")).get("last") or {}
    return numbers | ({"loss": float(last["loss"])} if "loss" in last else {})


def _values(text: str) -> list[tuple[str, str]]:
    """Read KEY=V1,V2: commas inside brackets belong to a value."""
    key, equals, listed = text.partition("=")
    values = [value.strip() for value in re.split(r",(?![^\[{]*[\]}])", listed)]
    if not equals or not key.strip() or not all(values):
        raise ConfigError(f"--sweep {text!r}: is not KEY=V1,V2; write it like optim.learning_rate=1e-4,3e-4")
    return [(key.strip(), value) for value in dict.fromkeys(values)]


def _with(options: Options, settings: Settings) -> dict[str, Any]:
    """Return the options with the settings as overrides, after those that were given."""
    changes = [f"{key}={value}" for key, value in settings]
    return {**options, "overrides": [*(options["overrides"] or ()), *changes]}


def _name(settings: Settings) -> str:
    """Return a name for files: learning_rate=1e-4, or optim.learning_rate=1e-4 where the last word is not enough."""
    last = [key.rpartition(".")[2] for key, _ in settings]
    keys = last if len(set(last)) == len(last) else [key for key, _ in settings]
    text = "-".join(f"{key}={value}" for key, (_, value) in zip(keys, settings, strict=True))
    return re.sub(r"[^\w.=+-]+", "_", text)


def _named(work: Work, name: str) -> Work:
    """Return the work under the name of its settings."""
    return Work(work.verb, work.run_dir, work.arguments, work.config, work.stem, name)
