"""What a finished run says of itself, read from its directory: scores, facts and configuration."""

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepa.config import yaml_text
from jepa.errors import RunError
from jepa.probes.metrics import ACCURACY
from jepa.probes.table import PRETRAINED, RANDOM_INIT, RAW_PIXELS
from jepa.runtime.run_dir import RunDir

FACTS = ("steps", "clips", "train_s", "seconds", "device", "version", "commit")
FITTED = (PRETRAINED, RANDOM_INIT, RAW_PIXELS)
RENEW = "run the command that wrote it again"
OWN = "run_dir"  # differs between any two runs, and is no difference


@dataclass(frozen=True, slots=True)
class Score:
    """A number with what is known of its spread."""

    value: float
    low: float | None = None
    """95 % interval over videos, where it was measured."""
    high: float | None = None
    deviation: float | None = None
    """Over seeds, or over runs."""
    count: int = 1
    """Seeds, or runs."""


@dataclass(frozen=True, slots=True, order=True)
class What:
    """What a score is of."""

    task: str
    head: str  # empty where nothing was fitted
    features: str
    measure: str


@dataclass(frozen=True, slots=True)
class RunResults:
    """One run: its scores in the order of its summary, the facts it has, and its settings by dotted path."""

    root: Path
    scores: Mapping[What, Score]
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def is_training(self) -> bool:
        """Whether an encoder was trained here, rather than measured."""
        return any(key.startswith("objective.") for key in self.settings)


def load_results(root: Path | str) -> RunResults:
    """Read config.yaml and summary.json; keys that are not known are left alone.

    Raises RunError for a folder that is no run, for a run that is not finished, and for a file that is damaged.
    """
    run = RunDir(root)
    if not run.config.is_file() and not run.summary.is_file():
        raise RunError(
            f"{run.root} is no run directory (there is no config.yaml and no summary.json); give the run_dir of "
            "`jepa pretrain`, `jepa probe` or `jepa eval`"
        )
    if not run.summary.is_file():
        raise RunError(
            f"{run.root} is not finished: there is no summary.json; run the command that started it again, and it "
            "goes on"
        )
    summary = read_summary(run.summary)
    config: object = {}
    if run.config.is_file():
        config = yaml_text.read(run.config.read_text(encoding="utf-8"), str(run.config))
    return RunResults(
        run.root,
        dict(_scores(summary, run.summary)),
        {name: summary[name] for name in FACTS if name in summary},
        {path: value for path, value in leaves(config) if path != OWN},
    )


def leaves(tree: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through nested mappings, and lists of mappings: (dotted path, value)."""
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and any(isinstance(one, Mapping) for one in tree):
        for number, value in enumerate(tree):
            yield from leaves(value, f"{path}.{number}")
    elif path:
        yield path, tree


def read_summary(path: Path) -> dict[str, Any]:
    """Return the summary as a mapping."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); remove it and {RENEW}") from error
    if not isinstance(summary, dict):
        raise RunError(f"{path} holds a {type(summary).__name__}, not an object; remove it and {RENEW}")
    return summary


def _scores(summary: Mapping[str, Any], path: Path) -> Iterator[tuple[What, Score]]:
    """Read the leading measure of every headline row of every probe, and the numbers of a benchmark."""
    for table in summary.get("probes") or ():
        if not isinstance(table, Mapping) or not isinstance(table.get("rows"), list):
            raise RunError(f"{path}: {str(table)[:60]!r} is no probe table; {RENEW}")
        metric = table.get("metric", ACCURACY)
        for row in table["rows"]:
            if not isinstance(row, Mapping) or "name" not in row:
                raise RunError(f"{path}: {str(row)[:60]!r} is no row of a probe table; {RENEW}")
            if not row.get("headline", True):
                continue
            score = _measured(row, metric)
            if score is None:
                raise RunError(
                    f"{path}: the row {row['name']!r} of {table.get('task')!r} has no {metric}; {RENEW}"
                )
            head = row.get("head", "linear" if row["name"] in FITTED else "")
            yield What(str(table.get("task")), head, row["name"], metric), score
    task = summary.get("benchmark")
    for name, score in _numbers(summary.get("results")):
        yield What(task if isinstance(task, str) else "benchmark", "", "", name), score


def _measured(row: Mapping[str, Any], metric: str) -> Score | None:
    """Read one measure; rows of version 0.1 have plain accuracies, and no interval."""
    seeds = row.get("measures", {}).get(metric)
    if not seeds:
        value = row.get(metric.replace(" ", "_"))
        return None if value is None else Score(float(value))
    values = [float("nan") if one["value"] is None else float(one["value"]) for one in seeds]
    return Score(
        statistics.fmean(values),
        seeds[0].get("low"),
        seeds[0].get("high"),
        statistics.stdev(values) if len(values) > 1 else None,
        len(values),
    )


def _numbers(results: object, name: str = "") -> Iterator[tuple[str, Score]]:
    """Read numbers, and values with intervals, below the names they have; anything else is left out."""
    if isinstance(results, Mapping):
        if isinstance(results.get("value"), int | float):
            low, high = results.get("low"), results.get("high")
            yield name, Score(float(results["value"]), low, high)
            return
        for key, value in results.items():
            yield from _numbers(value, f"{name}, {key}" if name else str(key))
    elif isinstance(results, int | float) and not isinstance(results, bool):
        yield name, Score(float(results))
