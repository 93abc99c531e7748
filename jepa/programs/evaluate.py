"""Linear probes of a frozen encoder beside raw pixels and the same encoder before training."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from jepa.config.schema import PretrainConfig
from jepa.data.evaluation import labelled_clips
from jepa.data.sources import Source, open_source
from jepa.models.encoder import Encoder
from jepa.models.zoo import build_encoder
from jepa.probes.features import Features, Reader, extract_rows, raw_reader, token_reader
from jepa.probes.table import PRETRAINED, RANDOM_INIT, RAW_PIXELS, ProbeTable, probe_table
from jepa.runtime.seeding import seed_everything

Rows = dict[str, dict[str, Features]]  # row name -> pooling -> features


def probe_tables(config: PretrainConfig, encoder: Encoder, *, device: torch.device) -> list[ProbeTable]:
    """Fit and score every probe task of ``config``; tasks over the same clips share one pass over them.

    The random-init row is the encoder as it was before step 0 of this run. Raises DataError for sources that
    cannot be read or labels that do not fit.
    """
    readers: dict[str, Reader] = {
        PRETRAINED: token_reader(encoder),
        RANDOM_INIT: token_reader(untrained(config).to(device)),
        RAW_PIXELS: raw_reader,
    }
    seen: dict[tuple[object, ...], Rows] = {}
    tables = []
    for task in config.probes:
        train = open_source(task.train)
        test = open_source(task.test, classes=train.classes)
        rows = [features_of(source, config, readers, device=device, seen=seen) for source in (train, test)]
        table = probe_table(task.name, *rows, pooling=task.pooling, seed=config.seed)
        tables.append(table.named([train.classes[int(number)] for number in table.classes]))
    return tables


def untrained(config: PretrainConfig) -> Encoder:
    """Return the encoder with the weights that the run started from."""
    seed_everything(config.seed, "weights")
    return build_encoder(config).eval()


def features_of(
    source: Source,
    config: PretrainConfig,
    readers: Mapping[str, Reader],
    *,
    device: torch.device,
    seen: dict[tuple[object, ...], Rows],
) -> Rows:
    """Return the features of a source's clips; clips that ``seen`` holds only change their labels."""
    clips = tuple((entry.path, entry.start, entry.end) for entry in source.entries)
    if clips not in seen:
        # The places of the entries stand in for labels, so that another task can put its own there.
        numbered = (replace(batch, labels=batch.entries) for batch in labelled_clips(source, config.data))
        seen[clips] = extract_rows(readers, numbered, device=device)
    labels = torch.tensor([-1 if entry.label is None else entry.label for entry in source.entries])
    return {
        row: {how: Features(one.values, labels[one.labels], one.groups) for how, one in pooled.items()}
        for row, pooled in seen[clips].items()
    }
