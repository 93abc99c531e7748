"""`jepa probe`: what a frozen encoder knows, beside its baselines, from features that are computed once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import jepa
from jepa.config.data import ReadConfig
from jepa.config.load import dump
from jepa.config.probe import FeatureSource, ProbeConfig, read_config
from jepa.data.feature_store import FeatureStore
from jepa.data.sources import Source, open_source
from jepa.errors import ConfigError, DataError
from jepa.models.frozen import Frozen, Networks
from jepa.models.zoo import load_frozen
from jepa.probes.features import Features
from jepa.probes.metrics import ACCURACY, BALANCED, MAE, MAP, R2, RECALL5, TOP5
from jepa.probes.table import PRETRAINED, RANDOM_INIT, RAW_PIXELS, ProbeTable
from jepa.probes.verdict import verdicts
from jepa.programs.evaluate import Kinds, Probed, Sides, TaskSources, probe_task
from jepa.programs.extraction import kept_features
from jepa.programs.probe_config import probe_config
from jepa.programs.probe_report import write_probe_report
from jepa.programs.requests import Request, check_rate, encoder_request, raw_request
from jepa.runtime.device import resolve_device
from jepa.runtime.run_dir import RunDir, commit
from jepa.runtime.terminal import Progress


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found."""

    run_dir: Path
    table: ProbeTable
    summary: dict[str, Any]
    """The contents of summary.json."""


def probe(
    config: ProbeConfig | str | Path | None = None,
    *,
    model: str | Path | None = None,
    train: str | Path | None = None,
    test: str | Path | None = None,
    heads: Sequence[str] | None = None,
    run_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> ProbeResult:
    """Fit heads on frozen features, score each once, and write table, summary and report.

    ``config`` is a `ProbeConfig`, a YAML file, or nothing: then ``model``, ``train`` and ``test`` say what is probed,
    and ``heads`` by which of linear, mlp, attentive and knn. Features are looked up in ``features_dir`` by
    fingerprint, and computed where they are missing. Raises ConfigError, DataError, CheckpointError or RunError.
    """
    if not isinstance(config, ProbeConfig):
        config = probe_config(
            config, model=model, train=train, test=test, heads=heads, run_dir=run_dir, overrides=overrides
        )
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    check_metric(config)
    began = time.monotonic()
    sources = open_sources(config)  # before anything is loaded or written
    frozen = load_frozen(config.model, device=config.device, weights=config.weights)
    run = RunDir(config.run_dir)
    run.create()
    run.write_config(dump(config))
    rows = features_of(config, frozen, sources)
    settings = {"dtype": config.dtype, "device": str(resolve_device(config.device))}
    progress = Progress(0)
    probed = probe_task(config, rows, sources, seeds=config.seeds, settings=settings, note=progress.note)
    table = lead(probed.table, config.metric)
    summary = summarise(config, table) | {"seconds": round(time.monotonic() - began, 1)}
    run.write_summary(summary)
    write_probe_report(run, config, Probed(table, probed.trials), rows, sources)
    progress.console.print(table.render())
    for verdict in verdicts(table):
        progress.note(f"{verdict.task}: {verdict.text}")
    progress.note(f"report: {run.report}")
    return ProbeResult(run.root, table, summary)


def open_sources(config: ProbeConfig) -> TaskSources:
    """Open what is fitted on and what is scored; features on disk name their own files and labels."""

    def opened(source: Any, classes: Sequence[str] | None = None) -> Source:
        if isinstance(source, FeatureSource):
            return FeatureStore.open(source.path).source()
        return open_source(source, classes=classes)

    train = opened(config.train)
    test = opened(config.test, train.classes)
    if test.classes != train.classes or test.targets != train.targets:
        raise DataError(
            f"{test.name} has the classes {list(test.classes)[:10]} and {train.name} {list(train.classes)[:10]}; "
            "probe features of lists with the same classes"
        )
    aside = None if config.validation is None else opened(config.validation, train.classes)
    return TaskSources(train, test, aside)


def networks_of(config: ProbeConfig, frozen: Frozen) -> dict[str, list[Networks]]:
    """Return what gives the features of each row but raw pixels: one for all seeds, or one per seed."""
    rows = {PRETRAINED: [frozen.networks]}
    if RANDOM_INIT in config.baselines:
        device = resolve_device(config.device)
        # The first is the encoder as it was before step 0 of its own run.
        rows[RANDOM_INIT] = [frozen.untrained(frozen.seed + number) for number in range(len(config.seeds))]
        for part in (part for several in rows[RANDOM_INIT] for part in several if part is not None):
            part.to(device)
    return rows


def requests(
    config: ProbeConfig, frozen: Frozen, rows: Mapping[str, Sequence[Networks]], read: ReadConfig
) -> dict[str, list[Request]]:
    """Describe the features of every row."""
    tokens = config.needs_tokens
    wanted = {
        row: [encoder_request(config, frozen, one, read, tokens=tokens) for one in several]
        for row, several in rows.items()
    }
    return wanted | (
        {RAW_PIXELS: [raw_request(config, read, tokens=tokens)]} if RAW_PIXELS in config.baselines else {}
    )


def features_of(config: ProbeConfig, frozen: Frozen, sources: TaskSources) -> dict[str, list[Sides]]:
    """Return the features of every row on every side, computed where they are not on disk."""
    read = read_config(config.clips, frozen.read)
    check_rate(config.model, read, sources.train)
    networks = networks_of(config, frozen)
    sides: dict[str, dict[str, list[Kinds]]] = {}
    for side, source in sources.sides().items():
        own = config if side == "test" else for_fitting(config)
        wanted = requests(own, frozen, networks, read)
        sides[side] = stored(own, wanted, source, given(config, side), read)
    return {
        row: [
            Sides(
                sides["train"][row][number],
                sides["test"][row][number],
                sides["validation"][row][number] if "validation" in sides else None,
            )
            for number in range(len(several))
        ]
        for row, several in sides["test"].items()
    }


def for_fitting(config: ProbeConfig) -> ProbeConfig:
    """Return the config with the views of the clips that are fitted on."""
    if config.train_views is None:
        return config
    return config.model_copy(update={"clips": config.clips.model_copy(update={"views": config.train_views})})


def given(config: ProbeConfig, side: str) -> FeatureStore | None:
    """Return the features that the config names itself."""
    source = getattr(config, side)
    return FeatureStore.open(source.path) if isinstance(source, FeatureSource) else None


def stored(
    config: ProbeConfig,
    wanted: Mapping[str, Sequence[Request]],
    source: Source,
    given: FeatureStore | None,
    read: ReadConfig,
) -> dict[str, list[Kinds]]:
    """Return every row's features of one source, by kind."""
    flat = [(row, request) for row, several in wanted.items() for request in several]
    stores: dict[int, FeatureStore] = {}
    if given is not None:
        check_given(given, wanted[PRETRAINED][0])
        stores[0] = given  # the encoder itself comes first
    rest = [number for number in range(len(flat)) if number not in stores]
    root, device = Path(config.features_dir), resolve_device(config.device)
    found = kept_features(
        root, [flat[number][1] for number in rest], source, read, config.clips, device=device
    )
    stores |= dict(zip(rest, found, strict=True))
    rows: dict[str, list[Kinds]] = {row: [] for row in wanted}
    for number, (row, request) in enumerate(flat):
        rows[row].append(by_kind(stores[number], request.kinds))
    return rows


def by_kind(store: FeatureStore, kinds: Sequence[str]) -> Kinds:
    """Map the features of a store, without loading them."""
    entries = torch.from_numpy(store.clips()["entry"].copy())
    return {kind: Features(store.array(kind), entries) for kind in kinds}


def check_given(store: FeatureStore, request: Request) -> None:
    """Refuse features that another encoder computed, or from clips that were cut differently."""
    have, want = store.manifest.settings, request.settings
    different = sorted(key for key in {*have, *want} if have.get(key) != want.get(key))
    if different:
        shown = ", ".join(f"{key} {have.get(key)!r}, not {want.get(key)!r}" for key in different)
        raise DataError(
            f"{store.root} does not hold the features of {request.model} that are asked for ({shown}); "
            "embed both sides with one model and the same settings"
        )
    if lacking := [kind for kind in request.kinds if kind not in store.manifest.kinds]:
        raise DataError(
            f"{store.root} has no {', '.join(lacking)}; run `jepa embed --tokens` for attentive heads"
        )


MEASURED = {"classes": (ACCURACY, BALANCED, TOP5, RECALL5), "labels": (MAP,), "values": (R2, MAE)}


def check_metric(config: ProbeConfig) -> None:
    """Refuse a leading metric that this kind of task does not have."""
    known = MEASURED[config.kind]
    if config.metric not in (None, *known):
        raise ConfigError(f"metric: {config.metric!r} is not measured here; one of {', '.join(known)}")


def lead(table: ProbeTable, metric: str | None) -> ProbeTable:
    """Return the table with ``metric`` in the lead. Raises ConfigError when there are too few classes for it."""
    if metric not in (None, *table.metrics):
        raise ConfigError(f"metric: {metric} needs more than 5 classes, and here are {len(table.classes)}")
    return table if metric is None else table.led_by(metric)


def summarise(config: ProbeConfig, table: ProbeTable) -> dict[str, Any]:
    """Collect the numbers of a probe."""
    return {
        "model": config.model,
        "seeds": list(config.seeds),
        "device": str(resolve_device(config.device)),
        "version": jepa.__version__,
        "commit": commit(),
        "probes": [table.to_dict()],
        "verdicts": {verdict.task: verdict.text for verdict in verdicts(table)},
    }
