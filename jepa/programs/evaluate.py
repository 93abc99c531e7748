"""Every head on every kind of features of one task, and the table of what they answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch

from jepa.config.heads import Head
from jepa.config.probe import FeatureSource, ProbeTask
from jepa.config.schema import PretrainConfig
from jepa.data.evaluation import labelled_clips
from jepa.data.sources import Source, open_source
from jepa.data.truth import truth
from jepa.errors import ConfigError
from jepa.models.build import architecture_of, untrained_networks
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.pooling import POOLINGS
from jepa.probes.features import RAW, TOKENS, Features, Reader, extract_rows, raw_reader, token_reader
from jepa.probes.heads import build_head, feature_kind, head_name
from jepa.probes.metrics import primary
from jepa.probes.table import PRETRAINED, RANDOM_INIT, RAW_PIXELS, ProbeRow, ProbeTable
from jepa.probes.trial import Labelled, Trial, blind_answers, run_trial

Kinds = Mapping[str, Features]  # kind of feature -> features of all clips of one source


@dataclass(frozen=True)
class Sides:
    """One set of features on both sides of a task."""

    train: Kinds
    test: Kinds
    validation: Kinds | None = None


@dataclass(frozen=True)
class TaskSources:
    """Where the clips of a task come from, opened."""

    train: Source
    test: Source
    validation: Source | None = None

    def sides(self) -> dict[str, Source]:
        """Return the sources by side."""
        given = {"train": self.train, "test": self.test, "validation": self.validation}
        return {side: source for side, source in given.items() if source is not None}


@dataclass(frozen=True)
class Probed:
    """A task's table, and behind it every trial."""

    table: ProbeTable
    trials: Mapping[tuple[str, str], tuple[Trial, ...]]
    """By name of the features and of the head, of the task's pooling; one per seed."""


class Task:
    """A task whose answers are known: features become labelled ones."""

    def __init__(self, config: ProbeTask, sources: TaskSources) -> None:
        self.config, self._sources = config, sources
        self._known = {side: truth(source, config.kind) for side, source in sources.sides().items()}

    def labelled(self, side: str, features: Features) -> Labelled:
        """Put the truth of one side beside its features."""
        videos = tuple(entry.path for entry in self._sources.sides()[side].entries)
        return Labelled(features.values, features.entries, self._known[side], videos)

    def trial(self, head: Head, sides: Sides, kind: str, *, seed: int, settings: Mapping[str, str]) -> Trial:
        """Fit one head on one kind of features, and score it."""
        aside = None if sides.validation is None else self.labelled("validation", sides.validation[kind])
        return run_trial(
            build_head(head, self.config.kind, seed=seed, **settings),
            self.config.kind,
            self.labelled("train", sides.train[kind]),
            self.labelled("test", sides.test[kind]),
            validation=aside,
            seed=seed,
        )

    def table(
        self, lines: Sequence[ProbeRow], any_sides: Sides, seeds: int, classes: Sequence[int]
    ) -> ProbeTable:
        """Put the lines into a table, the headline first, and those behind them that answer without looking."""
        kind, source = self.config.kind, self._sources.train
        train = self.labelled("train", next(iter(any_sides.train.values())))
        test = self.labelled("test", next(iter(any_sides.test.values())))
        blind = [
            ProbeRow(name, "", None, (found,)) for name, found in blind_answers(kind, train, test).items()
        ]
        names = source.targets if kind == "values" else source.classes
        return ProbeTable(
            task=self.config.name,
            kind=kind,
            metric=primary(kind),
            pooling=self.config.pooling,
            classes=tuple(names[number] for number in classes) if classes else names,
            train_size=len(torch.unique(train.entries)),
            test_size=len(torch.unique(test.entries)),
            seeds=seeds,
            rows=tuple(
                sorted([*lines, *blind], key=lambda row: row.pooling not in (None, self.config.pooling))
            ),
        )


def probe_task(
    config: ProbeTask,
    rows: Mapping[str, Sequence[Sides]],
    sources: TaskSources,
    *,
    seeds: Sequence[int] = (0,),
    poolings: Sequence[str] | None = None,
    settings: Mapping[str, str] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Probed:
    """Fit every head of a task on every row of features and score each once.

    ``rows`` holds one `Sides` per seed, or one for all. ``poolings`` beside the task's own are recorded too.
    ``settings`` are the heads' dtype and device. Raises DataError as the heads do.
    """
    task = Task(config, sources)
    lines: list[ProbeRow] = []
    kept: dict[tuple[str, str], tuple[Trial, ...]] = {}
    for head, (name, several) in product(config.heads, rows.items()):
        note(f"{config.name}: {head_name(head)} on {name}")
        for kind in _kinds(head, config, several[0], poolings):
            trials = tuple(
                task.trial(
                    head, several[min(number, len(several) - 1)], kind, seed=seed, settings=settings or {}
                )
                for number, seed in enumerate(seeds)
            )
            pooling = kind if kind in POOLINGS else None
            lines.append(ProbeRow.of(name, head_name(head), pooling, trials))
            if pooling in (None, config.pooling):
                kept[name, head_name(head)] = trials
    any_row = next(iter(rows.values()))[0]
    return Probed(task.table(lines, any_row, len(seeds), trials[0].classes), kept)


def _kinds(head: Head, config: ProbeTask, sides: Sides, poolings: Sequence[str] | None) -> Sequence[str]:
    """Return the kinds of features that the head is tried on."""
    if feature_kind(head, config.pooling) == TOKENS:
        return (TOKENS,)
    return (RAW,) if RAW in sides.train else (poolings or (config.pooling,))


def probe_tables(config: PretrainConfig, encoder: ClipEncoder, *, device: torch.device) -> list[ProbeTable]:
    """Fit and score every probe task of a run; tasks over the same clips share one pass over them.

    The random-init row is the encoder as it was before step 0 of this run. Raises DataError for sources that
    cannot be read or labels that do not fit.
    """
    wide = any(feature_kind(head, task.pooling) == TOKENS for task in config.probes for head in task.heads)
    untrained = untrained_networks(architecture_of(config), config.seed).encoder.to(device)
    readers: dict[str, Reader] = {
        PRETRAINED: token_reader(encoder, tokens=wide),
        RANDOM_INIT: token_reader(untrained, tokens=wide),
        RAW_PIXELS: raw_reader(tokens=wide),
    }
    seen: dict[tuple[object, ...], dict[str, dict[str, Features]]] = {}

    def features(source: Source) -> dict[str, dict[str, Features]]:
        clips = tuple((entry.path, entry.start, entry.end) for entry in source.entries)
        if clips not in seen:
            seen[clips] = extract_rows(readers, labelled_clips(source, config.data), device=device)
        return seen[clips]

    tables = []
    for task in config.probes:
        sources = open_task(task)
        train, test = features(sources.train), features(sources.test)
        rows = {name: [Sides(train[name], test[name])] for name in readers}
        tables.append(probe_task(task, rows, sources, seeds=(config.seed,), poolings=POOLINGS).table)
    return tables


def open_task(task: ProbeTask) -> TaskSources:
    """Open the videos or images of a task; the test list is read with the classes of the training list."""
    if isinstance(task.train, FeatureSource) or isinstance(task.test, FeatureSource):
        raise ConfigError(f"{task.name}: features on disk cannot be read here; give videos or images")
    train = open_source(task.train)
    return TaskSources(train, open_source(task.test, classes=train.classes))
