"""Frozen features of a source, from disk where they are there, else computed and kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jepa.config.data import ReadConfig
from jepa.config.probe import ClipsConfig, EmbedConfig
from jepa.data.decode import resolve_decoder
from jepa.data.evaluation import Cut, LabelledBatch, labelled_clips
from jepa.data.feature_store import CLIP, SHARD_ENTRIES, TOKEN_SHARD_ENTRIES, FeatureStore, Manifest, Rows
from jepa.data.sources import Source
from jepa.errors import ConfigError, DataError, InterruptError
from jepa.models.fingerprint import fingerprint
from jepa.models.pooling import POOLINGS
from jepa.models.zoo import Frozen, Networks
from jepa.probes.anticipation import Anticipation
from jepa.probes.features import RAW, TOKENS, Reader, raw_reader, read_features, token_reader
from jepa.runtime.interrupts import Interrupts
from jepa.runtime.terminal import Progress
from jepa.types import BadFile

READER_VERSION = 1  # raise it when the same weights and files give other features


@dataclass(frozen=True)
class Request:
    """One set of features of one source: who computes it, and all that it depends on."""

    model: str
    kinds: tuple[str, ...]
    reader: Reader
    settings: Mapping[str, Any]
    """Plain values; with the files of the source they make the fingerprint."""
    config: EmbedConfig

    def fingerprint(self, source: Source) -> str:
        """Return the name of the features of ``source``."""
        return fingerprint(None, {**self.settings, "files": _files(source)})

    def folder(self, root: Path, source: Source) -> Path:
        """Return where the features are kept."""
        return root / f"{self.fingerprint(source)[:20]}{'-tokens' if TOKENS in self.kinds else ''}"

    def manifest(self, source: Source) -> Manifest:
        """Return the manifest of the features of ``source``."""
        return Manifest(
            fingerprint=self.fingerprint(source),
            model=self.model,
            settings=dict(self.settings),
            kinds=self.kinds,
            config=self.config.model_dump(mode="json", include=set(EmbedConfig.model_fields)),
            dtype=self.config.feature_dtype,
            source=source.name,
            modality=source.modality,
            classes=source.classes,
            targets=source.targets,
            entries=len(source.entries),
            shard_entries=TOKEN_SHARD_ENTRIES if TOKENS in self.kinds else SHARD_ENTRIES,
        )


def encoder_request(
    config: EmbedConfig, frozen: Frozen, networks: Networks, read: ReadConfig, *, tokens: bool = False
) -> Request:
    """Describe the features of ``networks``, pooled in every way, and the tokens themselves with ``tokens``.

    Raises ConfigError for ``config.predict_steps`` without a predictor.
    """
    encoder, predictor = networks
    settings = _settings(read, config.clips) | {
        "encoder": fingerprint(encoder, frozen.shape),
        "dtype": config.dtype,
        "feature_dtype": config.feature_dtype,
    }
    kinds = (*POOLINGS, *([TOKENS] if tokens else []))
    if not config.predict_steps:
        reader = token_reader(encoder, tokens=tokens, dtype=config.dtype)
        return Request(frozen.source, kinds, reader, settings, config)
    if predictor is None:
        raise ConfigError(f"predict_steps: {frozen.source} has no predictor; set it to 0, or give a run")
    ahead = Anticipation(encoder, predictor, steps=config.predict_steps, pattern=frozen.pattern)
    settings |= {
        "predictor": fingerprint(predictor, {}),
        "predict_steps": config.predict_steps,
        "pattern": frozen.pattern,
    }
    reader = token_reader(ahead, tokens=tokens, dtype=config.dtype)
    return Request(frozen.source, kinds, reader, settings, config)


def raw_request(config: EmbedConfig, read: ReadConfig, *, tokens: bool = False) -> Request:
    """Describe the raw-pixel baseline."""
    settings = _settings(read, config.clips) | {"encoder": RAW, "feature_dtype": config.feature_dtype}
    kinds = (RAW, *([TOKENS] if tokens else []))
    return Request("raw pixels", kinds, raw_reader(tokens=tokens), settings, config)


def _settings(read: ReadConfig, clips: ClipsConfig) -> dict[str, Any]:
    """Return what the pixels of the clips depend on."""
    keys = ("frames_per_clip", "fps", "stride", "resolution", "mean", "std", "short_side")
    said = read.model_dump(mode="json", include=set(keys))
    return said | {
        "version": READER_VERSION,
        "decoder": resolve_decoder(read.decoder),
        "clips_per_video": clips.clips_per_video,
        "views": clips.views,
        "ahead_s": clips.ahead_s,
    }


def _files(source: Source) -> list[list[object]]:
    """Return every entry with the size and the time of its file: the same path may hold another video tomorrow."""
    stats = {path: Path(path).stat() for path in {entry.path for entry in source.entries}}
    return [
        [entry.path, entry.start, entry.end, stats[entry.path].st_size, stats[entry.path].st_mtime_ns]
        for entry in source.entries
    ]


def find_features(root: Path, request: Request, source: Source) -> FeatureStore | None:
    """Return finished features that hold what ``request`` asks for; tokens are kept with everything else."""
    wider = replace(request, kinds=(*request.kinds, TOKENS))
    for one in (request, wider):
        folder = one.folder(root, source)
        if (folder / "manifest.json").is_file():
            store = FeatureStore(folder, one.manifest(source))
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
    found = [find_features(root, request, source) for request in requests]
    missing = [request for request, store in zip(requests, found, strict=True) if store is None]
    if not missing:
        return [store for store in found if store is not None]
    progress = Progress(len(source.entries), unit="entry")
    progress.note(
        f"features of {source.name} by {', '.join(dict.fromkeys(request.model for request in missing))}"
    )
    folders = [(request, request.folder(root, source)) for request in missing]
    with progress:
        new = iter(compute_features(source, folders, read, cut_of(clips), device=device, progress=progress))
    return [store or next(new) for store in found]


def cut_of(clips: ClipsConfig) -> Cut:
    """Return which clips are taken of each entry."""
    return Cut(clips.clips_per_video, clips.views, clips.ahead_s)


def compute_features(
    source: Source,
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
    stores = [FeatureStore.create(path, request.manifest(source), source.entries) for request, path in wanted]
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


def check_rate(model: str, read: ReadConfig, source: Source) -> None:
    """Refuse videos when neither the model nor the config says how clips are cut."""
    if source.modality == "video" and read.fps is None and read.stride is None:
        raise ConfigError(
            f"clips: {model} does not say how clips are cut; set clips.frames_per_clip, and clips.fps or clips.stride"
        )
