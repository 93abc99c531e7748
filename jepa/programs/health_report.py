"""`jepa health`: which of several encoders is healthiest, measured without labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Group, RenderableType
from torch import Tensor

from jepa.config.load import assemble
from jepa.config.probe import EmbedConfig, FeatureSource, read_config
from jepa.data.feature_store import FeatureStore
from jepa.data.sources import open_source
from jepa.errors import ConfigError, DataError
from jepa.models.zoo import load_frozen
from jepa.probes.health import HealthReport, health_report, health_table, rank_encoders
from jepa.programs.extraction import kept_features
from jepa.programs.naming import source_named
from jepa.programs.requests import check_rate, encoder_request
from jepa.runtime.device import resolve_device


def health(
    models: Sequence[str | Path],
    source: str | Path,
    *,
    split: str | None = None,
    views: int = 4,
    pooling: str = "time",
    features_dir: str | Path = "features",
    overrides: Sequence[str] = (),
) -> dict[str, HealthReport]:
    """Measure encoders on the unlabelled videos at ``source``, by ``views`` clips of each, as views of one thing.

    ``overrides`` change `EmbedConfig`. Features are kept in ``features_dir``. Raises ConfigError, DataError and
    CheckpointError; DataError where a video is too short for so many clips.
    """
    named = source_named(str(source), split=split)
    if isinstance(named, FeatureSource):
        raise ConfigError(f"{source} holds features; several encoders need the videos themselves")
    opened = open_source(named)
    if opened.modality == "image":
        raise ConfigError(f"{source} holds images; views are clips of one video, so give videos")
    found = {}
    for model in map(str, models):
        config = assemble({"model": model, "clips": {"clips_per_video": views}}, overrides, EmbedConfig)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        frozen = load_frozen(model, device=config.device, weights=config.weights)
        read = read_config(config.clips, frozen.read)
        check_rate(model, read, opened)
        request = encoder_request(config, frozen, frozen.networks, read)
        device = resolve_device(config.device)
        (store,) = kept_features(Path(features_dir), [request], opened, read, config.clips, device=device)
        found[model] = health_report(by_view(store, pooling, views))
    return found


def by_view(store: FeatureStore, pooling: str, views: int) -> Tensor:
    """Return features with the views of one video side by side, (n, V, D)."""
    values = torch.from_numpy(store.array(pooling)[:]).float()
    if len(values) % views:
        raise DataError(f"{store.root}: {len(values)} clips are not {views} of each video")
    return values.view(-1, views, values.shape[1])


def render(found: Mapping[str, HealthReport]) -> RenderableType:
    """Return the table, and the order in which the encoders would be chosen."""
    table = health_table(found)
    if len(found) < 2:
        return table
    try:
        order = rank_encoders(found)
    except DataError as error:  # encoders of several widths: the numbers stand, an order would mislead
        return Group(table, f"no order: {error}")
    return Group(table, f"healthiest first: {', '.join(order)}")
