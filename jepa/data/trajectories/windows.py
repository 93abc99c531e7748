"""The training stream of a world model: batches of windows, in order of their steps."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from jepa.config.trajectories import TrajectoryData
from jepa.data.surviving import Batches, Surviving, WorkerLimits
from jepa.data.trajectories.held_frames import HeldFrames, fits, hold_frames
from jepa.data.trajectories.window_batches import Parts, WindowBatches
from jepa.data.trajectories.window_starts import WindowStarts, window_steps
from jepa.errors import DataError
from jepa.types import WHOLE, BadFile, Share, Trajectory, Windows


def window_stream(
    episodes: Sequence[Trajectory],
    data: TrajectoryData,
    *,
    seed: int,
    start_step: int,
    steps: int,
    pin_memory: bool = False,
    held: HeldFrames | None = None,
    share: Share = WHOLE,
) -> Iterator[Windows]:
    """Return the batches of steps ``start_step`` to ``start_step + steps`` - 1, each of ``data.batch_size`` windows.

    Of several processes that train together, each gets its ``share`` of every batch.

    Batch k depends on the episodes, ``data``, ``seed``, and k alone: not on where the stream starts, nor on
    workers, nor on whether frames are held. Every window of every episode is equally likely. Frames that fit into
    ``data.cache_mb`` are read at once and held in this process; ``held`` gives those that were read before, for the
    same episodes and resolution, or their latents, which the batches then carry.
    Others are decoded by ``data.workers`` processes.

    Raises DataError where no episode is long enough, and while iterating when too many windows in a row cannot be
    read. Single unreadable episodes are replaced and named in ``Windows.bad``. Workers that die, hang or leak are
    replaced, too (see `jepa.data.surviving`).
    """
    WindowStarts(episodes, window_steps(data))  # refuses episodes that are too short, before they are decoded
    if held is None and fits(episodes, data):
        held = hold_frames(episodes, data)
    batches = WindowBatches(episodes, data, seed=seed, held=held, share=share)
    order = range(start_step, start_step + steps)
    if held is not None:
        parts = (batches.build(step) for step in order)
        return (_windows(_pinned(part) if pin_memory else part) for part in parts)
    limits = WorkerLimits(data.workers, data.decode_timeout_s + data.worker_timeout_s, data.worker_memory_mb)
    return Batches(Surviving(batches, order, limits, pin=_pinned if pin_memory else None), _windows)


def all_windows(
    episodes: Sequence[Trajectory],
    data: TrajectoryData,
    *,
    window: int | None = None,
    stride: int | None = None,
    held: HeldFrames | None = None,
) -> Iterator[Windows]:
    """Yield the windows of all episodes in order, in batches of ``data.batch_size``, the last one smaller.

    ``window`` replaces that of ``data``. Starts lie ``stride`` environment steps apart, by default a window's own
    length: then no frame but the last is in two windows. Windows that cannot be read are left out and named in
    ``Windows.bad``; a batch of which nothing is left is not yielded, its bad files come with another one.

    Raises DataError where no episode is long enough, or where nothing at all can be read.
    """
    steps = window_steps(data, window=window)
    starts = WindowStarts(episodes, steps, stride=max(1, steps) if stride is None else stride)
    batches = WindowBatches(episodes, data, seed=0, window=window, held=held)
    bad: list[BadFile] = []
    last: Windows | None = None
    for begin in range(0, len(starts), data.batch_size):
        numbers = np.arange(begin, min(begin + data.batch_size, len(starts)))
        parts = batches.readable(starts.places(numbers), bad)
        if parts is not None:
            if last is not None:
                yield last
            last, bad = _windows(parts), []
    if last is None:
        raise DataError(f"no window can be read, the last of {bad[-1].path}: {bad[-1].reason}")
    yield replace(last, bad=(*last.bad, *bad))


def _windows(parts: Parts) -> Windows:
    """Name the parts of a batch."""
    frames, actions, proprio, bad = parts
    return Windows(frames, actions, proprio, tuple(bad))


@overload
def _pinned(parts: Parts) -> Parts: ...
@overload
def _pinned(parts: DataError) -> DataError: ...
def _pinned(parts: Parts | DataError) -> Parts | DataError:
    """Copy a batch to page-locked memory."""
    if isinstance(parts, DataError):
        return parts
    frames, actions, proprio, bad = parts
    return (
        frames.pin_memory(),
        actions.pin_memory(),
        None if proprio is None else proprio.pin_memory(),
        bad,
    )
