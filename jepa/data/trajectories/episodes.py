"""All episodes of all sources, checked, and divided into those to learn from and those kept from training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jepa.config.trajectories import (
    DemonstrationSource,
    FrameTableSource,
    Hdf5Source,
    LeRobotSource,
    StoreSource,
    TrajectorySource,
)
from jepa.data.decode import Decoder
from jepa.data.trajectories.checks import check_episodes
from jepa.data.trajectories.demonstrations import open_demonstrations
from jepa.data.trajectories.frame_table import open_frame_table
from jepa.data.trajectories.hdf5 import open_hdf5
from jepa.data.trajectories.lerobot import open_lerobot
from jepa.data.trajectories.opened import Opened
from jepa.data.trajectories.store import open_store
from jepa.errors import DataError
from jepa.types import BadFile, Trajectory


@dataclass(frozen=True, slots=True)
class Episodes:
    """The episodes of a program."""

    train: tuple[Trajectory, ...]
    test: tuple[Trajectory, ...]
    """Kept from training."""
    bad: tuple[BadFile, ...] = field(default=())
    """Files that are there and could not be opened; they count towards `max_bad_fraction`."""
    missing: tuple[BadFile, ...] = field(default=())
    """Files that a source's own index names and that are not there: reported, and no more."""

    @property
    def action_size(self) -> int:
        """Numbers of one environment step's action."""
        return int((self.train or self.test)[0].actions.shape[1])


def open_episodes(
    sources: Sequence[TrajectorySource],
    *,
    test_fraction: float = 0.0,
    proprio: bool = False,
    decoder: Decoder = "auto",
) -> Episodes:
    """Open every source; no frame is decoded.

    Which of a source's episodes are for the test depends on their names and on ``test_fraction`` alone: not on a
    seed, nor on where the source lies; recording more episodes moves none. There is at least one where a source
    has two episodes and ``test_fraction`` is positive, and at least one is left to learn from.

    Raises DataError that names the problems of all sources: paths that are not there, lengths that do not fit,
    numbers that are not finite, sizes that differ, and proprioception that is asked for and not there.
    """
    opened: list[Opened] = []
    problems = []
    for source in sources:
        try:
            found = open_episode_source(source, decoder=decoder)
            check_episodes(source.path, found.episodes, proprio=proprio)
            opened.append(found)
        except DataError as error:
            problems.append(str(error))
    if not problems:
        problems = _differences([source.path for source in sources], opened, proprio=proprio)
    if problems:
        raise DataError("\n".join(problems))
    train: list[Trajectory] = []
    test: list[Trajectory] = []
    for source, found in zip(sources, opened, strict=True):
        held = held_out([episode.name for episode in found.episodes], test_fraction)
        for episode in found.episodes:
            named = replace(episode, name=f"{source.path}/{episode.name}")  # unique over all sources
            (test if episode.name in held else train).append(named)
    return Episodes(
        train=tuple(train),
        test=tuple(test),
        bad=tuple(bad for found in opened for bad in found.bad),
        missing=tuple(missing for found in opened for missing in found.missing),
    )


def open_episode_source(source: TrajectorySource, *, decoder: Decoder = "auto") -> Opened:
    """Open one source. Its episodes are not checked against each other. Raises DataError."""
    match source:
        case StoreSource():
            return open_store(source)
        case Hdf5Source():
            return open_hdf5(source)
        case LeRobotSource():
            return open_lerobot(source, decoder=decoder)
        case DemonstrationSource():
            return open_demonstrations(source)
        case FrameTableSource():
            return open_frame_table(source, decoder=decoder)


def held_out(names: Sequence[str], fraction: float) -> frozenset[str]:
    """Return the names that are kept from training: those whose hash, as a number below 1, is below ``fraction``.

    Where that would be none of several, it is the name of the smallest hash; where it would be all, the name of the
    largest hash is left to training.
    """
    if fraction <= 0 or len(names) < 2:
        return frozenset()
    ranked = sorted(names, key=_place)
    count = sum(_place(name) < fraction for name in ranked)
    return frozenset(ranked[: min(max(1, count), len(ranked) - 1)])


def _place(name: str) -> float:
    """Return a number in [0, 1) that depends on ``name`` alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") / 2**64


def _differences(paths: Sequence[str], opened: Sequence[Opened], *, proprio: bool) -> list[str]:
    """Say where sources differ in the size of their actions or of their proprioception."""
    firsts = [found.episodes[0] for found in opened]
    sizes = {"actions": [episode.actions.shape[1] for episode in firsts]}
    if proprio:
        sizes["proprioception"] = [e.proprio.shape[1] for e in firsts if e.proprio is not None]
    return [
        f"{path} has {what} of {size} numbers, {paths[0]} of {found[0]} — the sources of one model must agree"
        for what, found in sizes.items()
        for path, size in zip(paths, found, strict=True)
        if size != found[0]
    ]
