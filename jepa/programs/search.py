"""`jepa search`: which clips are nearest to a query, in the eyes of the encoder that embedded them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from jepa.config.data import FileSource
from jepa.config.probe import EmbedConfig, read_config
from jepa.data.evaluation import labelled_clips
from jepa.data.feature_store import FeatureStore, Manifest, Rows
from jepa.data.inspect import draw_sheet, stretch_frames
from jepa.data.sources import IMAGE_SUFFIXES, Entry, Modality, Source, open_source
from jepa.errors import ConfigError, DataError
from jepa.models.zoo import load_frozen
from jepa.probes.features import extract_rows
from jepa.probes.index import Choice, Index, build_index, load_index
from jepa.programs.naming import kind_of
from jepa.programs.requests import encoder_request
from jepa.runtime.device import resolve_device

SHEET_FRAMES, SHEET_QUERIES, HEIGHT_PX = 4, 8, 80


@dataclass(frozen=True)
class Neighbour:
    """One clip near a query."""

    rank: int
    similarity: float
    """Cosine, at most 1."""
    path: str
    start_s: float
    end_s: float
    label: str | None


@dataclass(frozen=True)
class Found:
    """The nearest clips of every query."""

    queries: tuple[str, ...]
    neighbours: tuple[tuple[Neighbour, ...], ...]
    sheet: Path

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        near = [[asdict(one) for one in several] for several in self.neighbours]
        return {"queries": list(self.queries), "neighbours": near, "sheet": str(self.sheet)}


def search(
    folder: Path | str,
    query: str,
    *,
    k: int = 5,
    pooling: str = "mean",
    kind: Choice = "auto",
    sheet: Path | str = "search.png",
    device: str = "auto",
) -> Found:
    """Embed ``query`` as the clips in ``folder`` were embedded, and return the ``k`` nearest of those.

    ``query`` is a video or an image, a folder of such, or a list. The index is built on first use and kept in
    ``folder``. A contact sheet goes to ``sheet``: a query, then its neighbours, from left to right. Raises DataError,
    CheckpointError, and ConfigError when the encoder is no longer the one that embedded the folder.
    """
    store = FeatureStore.open(folder)
    if pooling not in store.manifest.kinds or len(store.array(pooling).shape) != 2:
        raise ConfigError(
            f"pooling: {pooling!r} is not in {folder}; it holds {', '.join(store.manifest.kinds)}"
        )
    source = open_query(query)
    names, features = embed_query(store.manifest, source, pooling, device)
    index = index_of(store, pooling, kind)
    similarity, rows = index.search(features, min(k, len(store.array(pooling))))
    clips, entries = store.clips(), store.source()
    near = tuple(
        tuple(
            neighbour(rank, float(value), clips[int(row)], entries)
            for rank, (value, row) in enumerate(zip(values, several, strict=True), 1)
        )
        for values, several in zip(similarity, rows, strict=True)
    )
    draw(source, names, near, store.manifest.modality, Path(sheet))
    return Found(tuple(names), near, Path(sheet))


def index_of(store: FeatureStore, pooling: str, kind: Choice) -> Index:
    """Read the index of a folder, or build and keep it."""
    path = store.root / f"index-{pooling}-{kind}.faiss"
    fingerprint = f"{store.manifest.fingerprint}/{pooling}"
    if path.is_file():
        return load_index(path, fingerprint=fingerprint)
    index = build_index(store.array(pooling), kind=kind, fingerprint=fingerprint)
    index.save(path)
    return index


def open_query(query: str) -> Source:
    """Open a single file, a folder or a list."""
    path = Path(query)
    suffix = path.suffix.lower()
    if path.is_file() and suffix not in (".csv", ".txt"):
        modality: Modality = "image" if suffix in IMAGE_SUFFIXES else "video"
        return Source(query, modality, (Entry(query),), ())
    return open_source(FileSource(kind=kind_of(path), path=query))


def embed_query(manifest: Manifest, source: Source, pooling: str, device: str) -> tuple[list[str], Tensor]:
    """Return the paths and the features of the queries, one centre clip of each."""
    config = EmbedConfig.model_validate(manifest.config, strict=False)
    frozen = load_frozen(config.model, device=device, weights=config.weights)
    read = read_config(config.clips, frozen.read)
    request = encoder_request(config, frozen, frozen.networks, read)
    if request.settings["encoder"] != manifest.settings["encoder"]:
        raise ConfigError(
            f"{config.model} holds other weights now than those that embedded {manifest.source}; embed it again"
        )
    batches = list(labelled_clips(source, read.model_copy(update={"workers": 0})))
    if bad := [one for batch in batches for one in batch.bad]:
        raise DataError(f"{bad[0].path}: {bad[0].reason}")
    found = extract_rows({"": request.reader}, batches, device=resolve_device(device))[""][pooling]
    return [source.entries[entry].path for entry in found.entries.tolist()], torch.as_tensor(found.values)


def neighbour(rank: int, similarity: float, clip: Rows, source: Source) -> Neighbour:
    """Say what a row of the features is."""
    entry = source.entries[int(clip["entry"])]
    label = None if entry.label is None else source.classes[entry.label]
    return Neighbour(rank, similarity, entry.path, float(clip["start_s"]), float(clip["end_s"]), label)


def draw(
    source: Source, names: Sequence[str], near: Sequence[Sequence[Neighbour]], modality: Modality, path: Path
) -> None:
    """Write the contact sheet: one line per query, its frames and then those of its neighbours."""
    lines = []
    for name, several in list(zip(names, near, strict=True))[:SHEET_QUERIES]:
        pictures = [stretch_frames(name, source.modality, frames=SHEET_FRAMES, height_px=HEIGHT_PX)]
        for one in several:
            times = (one.start_s, one.end_s)
            pictures.append(
                stretch_frames(one.path, modality, times=times, frames=SHEET_FRAMES, height_px=HEIGHT_PX)
            )
        lines.append(beside(pictures))
    draw_sheet(lines, height_px=HEIGHT_PX).save(path, format="PNG")


def beside(pictures: Sequence[Tensor]) -> list[Tensor]:
    """Put the frames of several clips in one row, a white bar between clips."""
    row: list[Tensor] = []
    for number, frames in enumerate(pictures):
        if number:
            row.append(torch.full((HEIGHT_PX, 12, 3), 255, dtype=torch.uint8))
        row += list(frames)
    return row


def render(found: Found) -> Table:
    """Return the neighbours for a terminal."""
    table = Table(title="nearest clips", caption=f"contact sheet: {found.sheet}")
    for column in ("query", "rank", "similarity", "clip", "seconds", "label"):
        table.add_column(column, justify="right" if column in ("rank", "similarity") else "left")
    for query, several in zip(found.queries, found.neighbours, strict=True):
        for one in several:
            seconds = f"{one.start_s:.2f}-{one.end_s:.2f}" if one.end_s > one.start_s else ""
            shown = query if one.rank == 1 else ""
            table.add_row(shown, str(one.rank), f"{one.similarity:.3f}", one.path, seconds, one.label or "")
    return table
