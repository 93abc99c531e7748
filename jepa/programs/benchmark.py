"""`jepa eval`: a benchmark as it is declared, beside what others published."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

import jepa
from jepa.config.benchmark import Benchmark, DenseProtocol
from jepa.config.load import assemble, read_tree
from jepa.config.probe import EmbedConfig, ProbeConfig
from jepa.errors import ConfigError, DataError
from jepa.runtime.run_dir import RunDir, commit
from jepa.runtime.terminal import Progress

GENERATED = Path("jepa-benchmarks")
# Overrides of these say how the benchmark is run, all others what is measured.
MACHINE = ("weights", "device", "threads", "features_dir")


@dataclass(frozen=True)
class BenchmarkResult:
    """What a model scored."""

    run_dir: Path
    summary: dict[str, Any]
    """The contents of summary.json."""


def benchmark(
    name: str,
    *,
    model: str,
    data: Path | str | None = None,
    run_dir: Path | str | None = None,
    overrides: Sequence[str] = (),
) -> BenchmarkResult:
    """Run the benchmark in ``evals/NAME.yaml``, or in a file of your own, with the data in the folder ``data``.

    Overrides change the declaration, like ``probe.seeds=[0,1,2]``, or how it is run: weights, device, threads and
    features_dir. Raises ConfigError, and DataError before anything is loaded when the data is not there.
    """
    machine = [one for one in overrides if one.partition("=")[0].strip() in MACHINE]
    rest = [one for one in overrides if one not in machine]
    declared = assemble(read_tree(name, folder="evals"), rest, Benchmark)
    stem = Path(name).stem
    folder = data_folder(declared, None if data is None else Path(data))
    run = RunDir(run_dir or f"runs/eval-{stem}")
    if declared.probe is not None:
        summary = run_probe(declared, folder, run, model, machine)
    elif declared.surprise is not None:
        summary = run_surprise(declared, folder, run, model, machine)
    else:
        summary = run_dense(declared, folder, run, model, machine)
    summary |= {
        "benchmark": stem,
        "model": model,
        "version": jepa.__version__,
        "commit": commit(),
        "published": [one.model_dump() for one in declared.published],
    }
    run.write_summary(summary)
    if declared.published:
        Progress(0).console.print(published_table(declared))
        Progress(0).note(declared.protocol)
    return BenchmarkResult(run.root, summary)


def data_folder(declared: Benchmark, given: Path | None) -> Path:
    """Return the folder of the data. Raises DataError, with what belongs there, when something is missing."""
    if given is None:
        if not declared.generated:
            raise ConfigError(
                f"--data is missing: {declared.title} needs a folder with its data. {declared.data}"
            )
        return GENERATED
    missing = [need for need in declared.needs if not (given / need).exists()]
    if missing:
        listed = ", ".join(str(given / need) for need in missing)
        raise DataError(f"{declared.title}: {listed} is not there. {declared.data}")
    return given


def placed(tree: Any, folder: Path) -> Any:
    """Return ``tree`` with every ``path`` in it taken from ``folder``."""
    if isinstance(tree, dict):
        return {
            key: str(folder / value) if key == "path" else placed(value, folder)
            for key, value in tree.items()
        }
    return [placed(one, folder) for one in tree] if isinstance(tree, list) else tree


def run_probe(
    declared: Benchmark, folder: Path, run: RunDir, model: str, machine: Sequence[str]
) -> dict[str, Any]:
    """Probe ``model`` by the declared protocol."""
    assert declared.probe is not None
    tree = placed(declared.probe.model_dump(mode="json", exclude_defaults=True), folder)
    config = assemble(tree | {"model": model, "run_dir": str(run.root)}, machine, ProbeConfig)
    from jepa.programs.probe import probe  # imports torch; by now the data is known to be there

    return probe(config).summary


def run_surprise(
    declared: Benchmark, folder: Path, run: RunDir, model: str, machine: Sequence[str]
) -> dict[str, Any]:
    """Judge matched pairs of possible and impossible videos."""
    from jepa.data.generated import ensure_violations
    from jepa.programs.measure_report import write_measure_report
    from jepa.programs.surprise import surprise_table

    assert declared.surprise is not None
    settings = assemble({"model": model}, machine, EmbedConfig)
    wanted = declared.surprise
    pairs = ensure_violations(folder / wanted.path, pairs=wanted.pairs, seed=wanted.seed)
    report = surprise_table(model, pairs, device=settings.device)
    table = report.render()
    Progress(0).console.print(table)
    charts = {"Surprise around the event": report.chart()}
    write_measure_report(
        run, title=page_title(declared, model), about=declared.about, tables=[table], charts=charts
    )
    return {"surprise": report.to_dict(), "results": report.results()}


def run_dense(
    declared: Benchmark, folder: Path, run: RunDir, model: str, machine: Sequence[str]
) -> dict[str, Any]:
    """Segment and track generated shapes from token features."""
    from jepa.models.zoo import load_frozen
    from jepa.programs.dense import dense_table
    from jepa.programs.dense_maps import write_maps
    from jepa.programs.measure_report import write_measure_report
    from jepa.runtime.device import resolve_device

    assert declared.dense is not None
    settings = assemble({"model": model}, machine, EmbedConfig)
    wanted = assemble(placed(declared.dense.model_dump(mode="json"), folder), (), DenseProtocol)
    frozen = load_frozen(model, device=settings.device, weights=settings.weights)
    report = dense_table(frozen, wanted.train, wanted.test, device=resolve_device(settings.device))
    table = report.render()
    Progress(0).console.print(table)
    run.create()
    seen = write_maps(
        frozen, wanted.test, run.plots / "feature-maps.gif", device=resolve_device(settings.device)
    )
    pictures = {"Frames, and the first principal components of their tokens": seen}
    write_measure_report(
        run, title=page_title(declared, model), about=declared.about, tables=[table], pictures=pictures
    )
    return {"dense": report.to_dict(), "results": report.results()}


def page_title(declared: Benchmark, model: str) -> str:
    """Return the title of a report."""
    return f"{declared.title}: {Path(model).name}"


def published_table(declared: Benchmark) -> Table:
    """Return what others scored."""
    table = Table(title=f"{declared.title}: published")
    for column in ("model", "score", "source"):
        table.add_column(column, justify="right" if column == "score" else "left")
    for one in declared.published:
        table.add_row(one.model, f"{one.score:g}", one.source)
    return table
