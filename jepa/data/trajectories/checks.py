"""What every episode must be, whichever source it comes from."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from jepa.errors import DataError
from jepa.types import Trajectory

SHOWN = 10  # problems named in a message


def check_episodes(source: str, episodes: Sequence[Trajectory], *, proprio: bool) -> None:
    """Raise DataError that names the episodes of ``source`` which cannot be used, and where they are wrong.

    Frames are one more than actions; actions are (T, A) with one A for all; actions and proprioception are finite.
    With ``proprio``, every episode has proprioception, of one size.
    """
    if not episodes:
        raise DataError(f"{source}: no episode can be read — look at the files, or remove the source")
    problems = [problem for episode in episodes for problem in _problems(episode, proprio=proprio)]
    if not problems:
        sizes = {"action": [episode.actions.shape[1] for episode in episodes]}
        if proprio:
            sizes["proprioception"] = [e.proprio.shape[1] for e in episodes if e.proprio is not None]
        problems = [problem for what, found in sizes.items() for problem in _mixed(what, found, episodes)]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError(f"{source}: {len(problems)} problems:\n  " + "\n  ".join(problems[:SHOWN] + more))


def _problems(episode: Trajectory, *, proprio: bool) -> Iterator[str]:
    """What is wrong with one episode."""
    name, steps, frames = episode.name, len(episode), len(episode.frames)
    if episode.actions.ndim != 2:
        yield f"{name}: actions have shape {episode.actions.shape}, not (steps, numbers per action)"
        return
    if frames != steps + 1:
        yield f"{name}: {frames} frames and {steps} actions; there must be one frame more than actions"
    yield from _not_finite(name, "action", episode.actions)
    if proprio and episode.proprio is None:
        yield f"{name}: has no proprioception; set proprio: false, or name the source's own"
    if episode.proprio is not None:
        if len(episode.proprio) != frames:
            yield f"{name}: {frames} frames and {len(episode.proprio)} rows of proprioception; they must be as many"
        yield from _not_finite(name, "proprioception", episode.proprio)


def _not_finite(name: str, what: str, values: NDArray[np.float32]) -> Iterator[str]:
    """Name the first row with NaN or infinity."""
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    if len(wrong):
        step = int(wrong[0])
        yield (
            f"{name}: the {what} of step {step} is {values[step].tolist()} ({len(wrong)} of {len(values)} steps are "
            "not finite); repair it, or leave the episode out"
        )


def _mixed(what: str, sizes: Sequence[int], episodes: Sequence[Trajectory]) -> Iterator[str]:
    """Say which episode has another size than the first."""
    for size, episode in zip(sizes, episodes, strict=True):
        if size != sizes[0]:
            yield (
                f"{episode.name}: {what} of {size} numbers, {episodes[0].name}: of {sizes[0]}; "
                "all must have the same"
            )
            return
