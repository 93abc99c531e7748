"""The training stream: batches in order of their steps, built in this process or in workers."""

from collections.abc import Sequence

from jepa.config.data import DataConfig
from jepa.data.dataset import MaskSampler, Parts, TrainingBatches
from jepa.data.decode import resolve_decoder
from jepa.data.schedule import Schedule
from jepa.data.sources import Source, open_sources
from jepa.data.surviving import Batches, Surviving, WorkerLimits
from jepa.errors import DataError
from jepa.types import WHOLE, Batch, Share


def train_stream(
    data: DataConfig,
    *,
    seed: int,
    start_step: int,
    steps: int,
    sample_masks: MaskSampler,
    sources: Sequence[Source] | None = None,
    pin_memory: bool = False,
    share: Share = WHOLE,
) -> Batches[Parts, Batch]:
    """Return the batches of steps ``start_step`` to ``start_step + steps`` - 1, or this process's ``share`` of each.

    Batch k depends on ``data``, ``seed``, and k alone (and on the files), not on where the stream starts, nor
    on the number of workers: a run resumed at step k reads what an unbroken one would have read. ``sources``
    are those of ``data`` where the caller has opened them already.

    Raises DataError at once for sources that cannot be opened, and while iterating when too many files in a
    row cannot be read. Single bad files are replaced and named in ``Batch.bad``. Workers that die, hang or leak are
    replaced, and counted in the stream's ``counts``; what they were to make comes all the same.
    """
    sources = open_sources(data.sources, confine=data.confine) if sources is None else sources
    batches = TrainingBatches(
        sources, data, seed=seed, decoder=resolve_decoder(data.decoder), sample_masks=sample_masks
    )
    plans = Schedule(sources, data, seed=seed, start=start_step, steps=steps, share=share)
    limits = WorkerLimits(data.workers, data.decode_timeout_s + data.worker_timeout_s, data.worker_memory_mb)
    return Batches(Surviving(batches, plans, limits, pin=_pinned if pin_memory else None), Parts.batch)


def _pinned(parts: Parts | DataError) -> Parts | DataError:
    """Copy a batch to page-locked memory."""
    return parts if isinstance(parts, DataError) else parts.pin_memory()
