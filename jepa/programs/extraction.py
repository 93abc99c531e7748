"""Frozen features of a source, from disk where they are there, else computed and kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from jepa.config.data import ReadConfig
from jepa.config.probe import ClipsConfig
from jepa.data.evaluation import Cut, LabelledBatch, labelled_clips
from jepa.data.feature_store import CLIP, FeatureStore, Manifest, Rows
from jepa.data.sources import Source
from jepa.errors import DataError, InterruptError
from jepa.probes.features import TOKENS, read_features
from jepa.programs.requests import Contents, Request, cut_of
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.terminal import Progress
from jepa.types import BadFile


def find_features(root: Path, request: Request, contents: Contents) -> FeatureStore | None:
    """Return finished features that hold what ``request`` asks for; tokens are kept with everything else."""
    wider = replace(request, kinds=(*request.kinds, TOKENS))
    for one in (request, wider):
        folder = one.folder(root, contents)
        if (folder / "manifest.json").is_file():
            store = FeatureStore(folder, one.manifest(contents))
            if not store.missing():
                return FeatureStore.open(folder)
    return None


def kept_features(
    root: Path,
    requests: Sequence[Request],
    source: Source,
    read: ReadConfig,
    clips: ClipsConfig,
    *,
    device: torch.device,
) -> list[FeatureStore]:
    """Return the features of every request from below ``root``; those that are not there are computed in one pass."""
    contents = Contents.of(source)
    found = [find_features(root, request, contents) for request in requests]
    missing = [request for request, store in zip(requests, found, strict=True) if store is None]
    if not missing:
        return [store for store in found if store is not None]
    progress = Progress(len(source.entries), unit="entry")
    progress.note(
        f"features of {source.name} by {', '.join(dict.fromkeys(request.model for request in missing))}"
    )
    folders = [(request, request.folder(root, contents)) for request in missing]
    with progress:
        new = iter(compute_features(contents, folders, read, cut_of(clips), device=device, progress=progress))
    return [store or next(new) for store in found]


def compute_features(
    contents: Contents,
    wanted: Sequence[tuple[Request, Path]],
    read: ReadConfig,
    cut: Cut,
    *,
    device: torch.device,
    progress: Progress,
) -> list[FeatureStore]:
    """Write the features of every request into its folder, in one pass over the clips that any of them lacks.

    What is there already is kept. Raises DataError for a folder that holds something else, for features that are not
    finite, and when too many files are bad; InterruptError after a signal, when the shard at hand is written.
    """
    source = contents.source
    stores = [
        FeatureStore.create(path, request.manifest(contents), source.entries) for request, path in wanted
    ]
    missing = [set(store.missing()) for store in stores]
    todo = sorted(set().union(*missing))
    per_entry = (cut.clips if source.modality == "video" else 1) * cut.views
    batch_entries = _largest_divisor(stores[0].manifest.shard_entries, read.batch_size // per_entry)
    read = read.model_copy(update={"batch_size": batch_entries * per_entry})
    places = [place for shard in todo for place in stores[0].places(shard)]
    readers = {str(number): request.reader for number, (request, _) in enumerate(wanted)}
    stream = read_features(readers, labelled_clips(source, read, cut=cut, entries=places), device=device)
    bad, done = 0, len(source.entries) - len(places)
    with Interrupts() as interrupts:
        for shard in todo:
            batches = -(-len(stores[0].places(shard)) // batch_entries)
            part = Part.collect(
                islice(stream, batches), {str(n): store.manifest for n, store in enumerate(stores)}
            )
            bad += len(part.bad)
            _refuse_bad(source, bad, part.bad, read.max_bad_fraction)
            for number, store in enumerate(stores):
                if shard in missing[number]:
                    store.write(shard, part.clips, part.features[str(number)], part.bad)
            done += len(stores[0].places(shard))
            progress.update(done, {})
            if interrupts.requested and shard != todo[-1]:
                raise InterruptError(
                    f"{interrupts.requested}: features of {done} of {len(source.entries)} entries of {source.name} "
                    "are written; the same command goes on"
                )
    return stores


@dataclass(frozen=True)
class Part:
    """What one shard holds."""

    clips: Rows
    features: dict[str, dict[str, np.ndarray]]
    """By reader and kind."""
    bad: list[BadFile]

    @classmethod
    def collect(
        cls,
        batches: Iterable[tuple[LabelledBatch, dict[str, dict[str, torch.Tensor]]]],
        manifests: Mapping[str, Manifest],
    ) -> "Part":
        """Put batches together; their pixels are let go one by one."""
        clips, bad = [np.empty(0, CLIP)], list[BadFile]()
        features = {row: {kind: list[np.ndarray]() for kind in one.kinds} for row, one in manifests.items()}
        for batch, rows in batches:
            bad += batch.bad
            times = batch.times.numpy()
            columns = [
                batch.entries.numpy(),
                batch.clips.numpy(),
                batch.views.numpy(),
                times[:, 0],
                times[:, -1],
            ]
            clips.append(np.rec.fromarrays(columns, dtype=CLIP))
            for row, kinds in rows.items():
                for kind, values in kinds.items():
                    features[row][kind].append(values.numpy().astype(manifests[row].dtype))
        joined = {
            row: {kind: np.concatenate(parts) if parts else np.empty(0) for kind, parts in kinds.items()}
            for row, kinds in features.items()
        }
        return cls(np.concatenate(clips), joined, bad)


def _largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of ``number`` that is at most ``most``, and 1 at least."""
    return next(divisor for divisor in range(max(1, min(most, number)), 0, -1) if number % divisor == 0)


def _refuse_bad(source: Source, total: int, bad: Sequence[BadFile], most: float) -> None:
    """Raise DataError when too many files are bad."""
    if bad and total > most * source.files:
        raise DataError(
            f"{source.name}: {total} of {source.files} files cannot be read, the last {bad[-1].path}: "
            f"{bad[-1].reason} — clips.max_bad_fraction allows {most:.1%}; repair or remove them, or raise it"
        )
