"""`jepa embed`: features of a frozen encoder, written once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from jepa.config.data import Source
from jepa.config.load import assemble
from jepa.config.probe import EmbedConfig, FeatureSource, read_config
from jepa.data.feature_store import FeatureStore
from jepa.data.sources import open_source
from jepa.errors import ConfigError, InterruptError
from jepa.models.zoo import load_frozen
from jepa.programs.extraction import compute_features
from jepa.programs.naming import source_named
from jepa.programs.requests import Contents, check_rate, cut_of, encoder_request
from jepa.runtime.device import resolve_device
from jepa.runtime.terminal import Progress


@dataclass(frozen=True)
class EmbedResult:
    """What was written."""

    status: str
    """done or interrupted."""
    directory: Path
    fingerprint: str
    shards: int
    clips: int
    """Clips with features, over all entries, clips and views; 0 when interrupted."""
    kinds: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self) | {"directory": str(self.directory)}

    @property
    def store(self) -> FeatureStore:
        """The features, open for reading."""
        return FeatureStore.open(self.directory)


def embed_source(
    config: EmbedConfig, source: Source, directory: Path | str, *, tokens: bool = False
) -> EmbedResult:
    """Write the features of all entries of ``source`` into ``directory``; what is there already is kept.

    Pooled features in every way, and with ``tokens`` every token. Raises DataError, CheckpointError, ConfigError.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    opened = open_source(source)
    contents = Contents.of(opened)
    frozen = load_frozen(config.model, device=config.device, weights=config.weights)
    read = read_config(config.clips, frozen.read)
    check_rate(config.model, read, opened)
    request = encoder_request(config, frozen, frozen.networks, read, tokens=tokens)
    progress = Progress(len(opened.entries), unit="entry")
    status = "done"
    try:
        with progress:
            compute_features(
                contents,
                [(request, Path(directory))],
                read,
                cut_of(config.clips),
                device=resolve_device(config.device),
                progress=progress,
            )
    except InterruptError as error:
        progress.note(str(error))
        status = "interrupted"
    manifest = request.manifest(contents)
    clips = len(FeatureStore.open(directory).clips()) if status == "done" else 0
    return EmbedResult(status, Path(directory), manifest.fingerprint, manifest.shards, clips, manifest.kinds)


def embed(
    model: str | Path,
    source: str | Path,
    directory: Path | str,
    *,
    split: str | None = None,
    tokens: bool = False,
    overrides: Sequence[str] = (),
) -> EmbedResult:
    """Write the features that ``model`` gives the folder or list at ``source``; what is there already is kept.

    ``overrides`` change `EmbedConfig`, like ``clips.clips_per_video=2``. Raises what `embed_source` raises.
    """
    config = assemble({"model": str(model)}, overrides, EmbedConfig)
    named = source_named(str(source), split=split)
    if isinstance(named, FeatureSource):
        raise ConfigError(f"{source} holds features already; give the videos or images themselves")
    return embed_source(config, named, directory, tokens=tokens)
