"""What each training step reads: a pure function of (seed, step), so a resumed run replays nothing."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from jepa.config.data import DataConfig
from jepa.data.sources import Modality, Source
from jepa.runtime.seeding import generator
from jepa.types import WHOLE, Share


class Pick(NamedTuple):
    """One entry of one source."""

    source: int
    entry: int


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step reads."""

    step: int
    modality: Modality
    picks: tuple[Pick, ...]
    """One per group of neighbouring clips: ``clips_per_video`` for videos, one for images."""
    groups: range
    """Those of them that this process reads."""


class Schedule(Sampler[StepPlan]):
    """The plans of steps ``start`` to ``start + steps`` - 1.

    Sources take turns so that after any number of draws each has had its share by weight, to within one draw;
    video and image steps likewise. A source therefore counts its own draws, and goes through a new random
    order of its entries each time it has given all of them: every entry is used once per epoch, also in a
    mix.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        data: DataConfig,
        *,
        seed: int,
        start: int,
        steps: int,
        share: Share = WHOLE,
    ) -> None:
        self._sources = sources
        self._seed = seed
        self._range = range(start, start + steps)
        self._batch_size, self._share = data.batch_size, share
        self._clips_per_video = data.clips_per_video
        self._modalities = _modality_weights(sources, data.image_fraction)
        self._order = lru_cache(maxsize=2 * len(sources))(self._shuffled)

    def __iter__(self) -> Iterator[StepPlan]:
        return map(self.plan, self._range)

    def __len__(self) -> int:
        return len(self._range)

    def plan(self, step: int) -> StepPlan:
        """Return what ``step`` reads."""
        turn = take_turns(step, [weight for _, weight in self._modalities])
        modality = self._modalities[turn.member][0]
        clips = self._clips_per_video if modality == "video" else 1
        groups = self._batch_size // clips
        members = [i for i, source in enumerate(self._sources) if source.modality == modality]
        weights = [self._sources[i].weight for i in members]
        picks = []
        for group in range(groups):
            draw = take_turns(turn.before * groups + group, weights)
            source = members[draw.member]
            epoch, place = divmod(draw.before, len(self._sources[source].entries))
            picks.append(Pick(source, int(self._order(source, epoch)[place])))
        return StepPlan(step, modality, tuple(picks), self._share.rows(groups))

    def _shuffled(self, source: int, epoch: int) -> NDArray[np.int64]:
        """The order of a source's entries in an epoch."""
        count = len(self._sources[source].entries)
        order: NDArray[np.int64] = torch.randperm(
            count, generator=generator(self._seed, "order", source, epoch)
        ).numpy()
        return order


class Turn(NamedTuple):
    """Whose turn it is, and how many turns that member had before."""

    member: int
    before: int


def take_turns(draw: int, weights: Sequence[float]) -> Turn:
    """Return who gets draw number ``draw`` when members with ``weights`` take turns as evenly as they can.

    >>> [take_turns(draw, (3, 1)).member for draw in range(8)]
    [0, 0, 0, 1, 0, 0, 0, 1]
    """
    for member in range(len(weights) - 1):
        share = weights[member] / sum(weights[member:])
        before = _share_of(draw, share)
        if _share_of(draw + 1, share) > before:
            return Turn(member, before)
        draw -= before  # what is left for the members that follow
    return Turn(len(weights) - 1, draw)


def _share_of(draws: int, share: float) -> int:
    """How many of the first ``draws`` draws belong to a member with ``share`` of them, rounded up."""
    return math.ceil(draws * share)


def _modality_weights(
    sources: Sequence[Source], image_fraction: float | None
) -> list[tuple[Modality, float]]:
    """Weights of the modalities that are there, image steps by ``image_fraction`` where both are."""
    totals: dict[Modality, float] = {}
    for source in sources:
        totals[source.modality] = totals.get(source.modality, 0.0) + source.weight
    if len(totals) == 2 and image_fraction is not None:
        totals = {"video": 1 - image_fraction, "image": image_fraction}
    return [(modality, weight) for modality, weight in sorted(totals.items(), reverse=True) if weight > 0]
