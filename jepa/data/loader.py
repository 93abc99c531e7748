"""The training stream: batches in order of their steps, built in this process or in workers."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader

from jepa.config.data import DataConfig
from jepa.data.dataset import MaskSampler, Parts, TrainingBatches
from jepa.data.decode import resolve_decoder
from jepa.data.schedule import Schedule
from jepa.data.sources import Source, open_sources
from jepa.data.workers import leave_signals_to_the_parent
from jepa.errors import DataError
from jepa.types import Batch


def train_stream(
    data: DataConfig,
    *,
    seed: int,
    start_step: int,
    steps: int,
    sample_masks: MaskSampler,
    sources: Sequence[Source] | None = None,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Return the batches of steps ``start_step`` to ``start_step + steps`` - 1.

    Batch k depends on ``data``, ``seed``, and k alone (and on the files), not on where the stream starts, nor
    on the number of workers: a run resumed at step k reads what an unbroken one would have read. ``sources``
    are those of ``data`` where the caller has opened them already.

    Raises DataError at once for sources that cannot be opened, and while iterating when too many files in a
    row cannot be read. Single bad files are replaced and named in ``Batch.bad``.
    """
    sources = open_sources(data.sources) if sources is None else sources
    batches = TrainingBatches(
        sources, data, seed=seed, decoder=resolve_decoder(data.decoder), sample_masks=sample_masks
    )
    loader = DataLoader(
        batches,
        batch_size=None,  # the data set builds whole batches
        sampler=Schedule(sources, data, seed=seed, start=start_step, steps=steps),
        num_workers=data.workers,
        pin_memory=pin_memory,
        worker_init_fn=leave_signals_to_the_parent,
        generator=torch.Generator(),  # else the loader would draw from torch's global one
    )
    return _batches(loader)


def _batches(loader: "DataLoader[Parts | DataError]") -> Iterator[Batch]:
    """Raise the errors that workers hand over."""
    for parts in loader:
        if isinstance(parts, DataError):
            raise parts
        yield parts.batch()
