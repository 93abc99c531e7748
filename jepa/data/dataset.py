"""Builds training batches: decode, cut, augment, and draw masks for one step of the schedule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from multiprocessing import parent_process
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from jepa.config.data import DataConfig
from jepa.data.augment import Augmentation
from jepa.data.decode import Decoder
from jepa.data.reading import ClipReader
from jepa.data.sampling import clip_places
from jepa.data.schedule import Pick, StepPlan
from jepa.data.sources import Modality, Source
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.preprocess import normalise
from jepa.runtime.seeding import generator
from jepa.types import BadFile, Batch, Masks, Rows

MaskSampler = Callable[[Modality, int, torch.Generator], tuple[Masks, ...]]
"""Draws the masks of a batch: (modality, clips in the batch, generator) -> one `Masks` per pattern."""

ATTEMPTS = 16  # entries tried for one place of a batch


@dataclass(slots=True)
class Parts:
    """A batch in a form that the loader can pin: plain containers of tensors."""

    clip: Tensor
    masks: list[tuple[Tensor, Tensor]]
    bad: list[BadFile]
    rows: Rows

    def pin_memory(self) -> "Parts":
        """Copy all tensors to page-locked memory; the loader calls this."""
        masks = [(context.pin_memory(), target.pin_memory()) for context, target in self.masks]
        return Parts(self.clip.pin_memory(), masks, self.bad, self.rows)

    def batch(self) -> Batch:
        """Return the batch."""
        return Batch(self.clip, tuple(Masks(*pair) for pair in self.masks), tuple(self.bad), self.rows)


class TrainingBatches(Dataset[Parts | DataError]):
    """Maps a step's plan to its batch.

    Everything random is drawn from generators keyed by (seed, step, group of neighbouring clips): a batch is
    the same in whichever process, and after whatever other batches, it is built.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        data: DataConfig,
        *,
        seed: int,
        decoder: Decoder,
        sample_masks: MaskSampler,
    ) -> None:
        self._sources = sources
        self._data = data
        self._seed = seed
        self._sample_masks = sample_masks
        self._reader = ClipReader(data, decoder=decoder, cache_mb=data.cache_mb)

    def __getitem__(self, plan: StepPlan) -> Parts | DataError:
        """Return the batch, or the error, which raised in a worker would come out under a page of traces."""
        try:
            return self._parts(plan)
        except DataError as error:
            return error

    def avoid(self, path: str, reason: str) -> None:
        """Take a file for one that cannot be read."""
        self._reader.avoid(path, reason)

    def _parts(self, plan: StepPlan) -> Parts:
        bad: list[BadFile] = []
        pixels = [clip for group in plan.groups for clip in self._group(plan, group, bad)]
        # Masks are drawn for the whole batch, whoever reads it: how many tokens they keep is a matter of all of it.
        clips = len(pixels) // len(plan.groups)  # per group
        rows = Rows(clips * plan.groups.start, clips * len(plan.picks))
        masks = self._sample_masks(plan.modality, rows.total, generator(self._seed, "masks", plan.step))
        own = slice(rows.first, rows.first + len(pixels))
        return Parts(
            clip=self._normalised(pixels),
            masks=[(mask.context[own], mask.target[own]) for mask in masks],
            bad=bad,
            rows=rows,
        )

    def _normalised(self, pixels: list[Tensor]) -> Tensor:
        """Return clips (T, C, H, W) uint8 as a batch of floats, (B, C, T, H, W).

        A worker writes it where the training process will read it: sending it would copy it there.
        """
        frames, channels, height, width = pixels[0].shape
        shape = (len(pixels), channels, frames, height, width)
        batch = torch.empty(shape) if parent_process() is None else _shared(shape)
        for clip, out in zip(pixels, batch, strict=True):
            normalise(clip, mean=self._data.mean, std=self._data.std, out=out)
        return batch

    def _group(self, plan: StepPlan, group: int, bad: list[BadFile]) -> list[Tensor]:
        """Return neighbouring clips cut from one file; a file that cannot be read is noted and replaced."""
        for attempt in range(ATTEMPTS):
            pick = plan.picks[group] if attempt == 0 else self._replacement(plan, group, attempt)
            try:
                return self._clips(plan, group, pick)
            except UnreadableError as error:
                bad.append(BadFile(error.path, error.reason))
        last = bad[-1]
        raise DataError(
            f"step {plan.step}: {ATTEMPTS} files in a row cannot be read, the last {last.path}: "
            f"{last.reason} — look through the source with `jepa data inspect`"
        )

    def _clips(self, plan: StepPlan, group: int, pick: Pick) -> list[Tensor]:
        """Return the group's clips, each (T, C, H, W) uint8."""
        draws = generator(self._seed, "clips", plan.step, group)
        clips = self._data.clips_per_video if plan.modality == "video" else 1
        places = clip_places(clips, jitter=self._data.jitter, generator=draws)
        drawn = [
            Augmentation(self._data.augment, resolution=self._data.resolution, generator=draws)
            for _ in range(clips)
        ]
        entry = self._sources[pick.source].entries[pick.entry]
        read = self._reader.read(entry, plan.modality, places, lambda clip, frames: drawn[clip].cut(frames))
        return [one.recolour(clip) for one, clip in zip(drawn, read.pixels, strict=True)]

    def _replacement(self, plan: StepPlan, group: int, attempt: int) -> Pick:
        """Draw another entry of the same source."""
        source = plan.picks[group].source
        draws = generator(self._seed, "replacement", plan.step, group, attempt)
        return Pick(source, int(torch.randint(len(self._sources[source].entries), (), generator=draws)))


def _shared(shape: tuple[int, ...]) -> Tensor:
    """Return memory for floats that other processes can map, as torch's own `default_collate` makes it."""
    kind: Any = torch.UntypedStorage  # whose method has no types
    storage = kind._new_shared(prod(shape) * torch.float32.itemsize, device="cpu")
    return torch.empty(0).set_(storage).view(shape)
