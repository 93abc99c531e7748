"""Clips for measuring: every entry of a source once, in order, nothing random."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jepa.config.data import ReadConfig
from jepa.data.decode import Decoder, resolve_decoder
from jepa.data.reading import ClipReader
from jepa.data.sampling import clip_places
from jepa.data.sources import Source
from jepa.data.video import UnreadableError
from jepa.data.workers import leave_signals_to_the_parent
from jepa.errors import DataError
from jepa.preprocess import centre_pixels, height_width, normalise
from jepa.types import BadFile

VIEWS = {1: (0.5,), 3: (0.0, 0.5, 1.0)}  # along the longer side; the papers evaluate videos on 1 or 3
LAST = math.nextafter(1.0, 0.0)  # the last place of [0, 1): the clip ends where the context does


@dataclass(frozen=True, slots=True)
class Cut:
    """Which clips are taken of each entry."""

    clips: int = 1
    """Per video, spread evenly over it; one is the centre clip. Images have one."""
    views: int = 1
    """Crops of each clip: 1, the centre, or 3, along the longer side."""
    ahead_s: float | None = None
    """Take the clip that ends so many seconds before the entry's first frame, to anticipate the entry from it; before
    its last frame, where the entry starts with its file."""

    def __post_init__(self) -> None:
        if self.views not in VIEWS:
            raise DataError(f"views must be 1 or 3, got {self.views}")
        if self.clips < 1 or (self.ahead_s is not None and self.clips > 1):
            raise DataError(
                f"clips must be 1 or more, and 1 where something is anticipated, got {self.clips}"
            )


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """Clips with what is known about them. Clips and views of one entry are neighbours."""

    clip: Tensor  # (B, C, T, H, W) float, normalised; B is 0 where all files of the batch are bad
    labels: Tensor  # (B,) long, -1 where there is none
    entries: Tensor  # (B,) long: places in `Source.entries`
    clips: Tensor  # (B,) long: which of the entry's clips
    views: Tensor  # (B,) long: which crop of the clip
    times: Tensor  # (B, T) float64: seconds of the frames since the start of the file
    bad: tuple[BadFile, ...] = ()
    """Files that were skipped."""


def labelled_clips(
    source: Source, data: ReadConfig, *, cut: Cut | None = None, entries: Sequence[int] | None = None
) -> Iterator[LabelledBatch]:
    """Return all entries of ``source``, or those at the places ``entries``, as batches of about ``data.batch_size``.

    Every clip is preprocessed as by `jepa.preprocess.preprocess`; what else `DataConfig` holds is for training
    alone. Raises DataError where more clips are asked for than a video has frames.
    """
    cut = cut or Cut()
    places = range(len(source.entries)) if entries is None else entries
    dataset = _Entries(source, data, places, cut=cut, decoder=resolve_decoder(data.decoder))
    loader = DataLoader(
        dataset,
        batch_size=max(1, data.batch_size // dataset.per_entry),
        num_workers=data.workers,
        collate_fn=dataset.collate,
        worker_init_fn=leave_signals_to_the_parent,
        generator=torch.Generator(),  # else the loader would draw from torch's global one
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


@dataclass(frozen=True, slots=True)
class _Read:
    """What one entry gave."""

    entry: int
    pixels: Tensor  # (clips * views, T, C, H, W) uint8
    times: Tensor  # (clips * views, T)


class _Entries(Dataset["_Read | BadFile | DataError"]):
    """Maps a place to the clips of the entry there, or to what is wrong with it."""

    def __init__(
        self, source: Source, data: ReadConfig, places: Sequence[int], *, cut: Cut, decoder: Decoder
    ) -> None:
        is_video = source.modality == "video"
        self._clips = cut.clips if is_video else 1
        self._views = VIEWS[cut.views]
        self.per_entry = self._clips * len(self._views)
        self._source, self._entries, self._ahead_s = source, places, cut.ahead_s
        self._resolution, self._mean, self._std = data.resolution, data.mean, data.std
        self._frames = data.frames_per_clip if is_video else 1
        self._reader = ClipReader(data, decoder=decoder, ahead_s=cut.ahead_s)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> _Read | BadFile | DataError:
        """Return the clips, or the error, which raised in a worker would come out under a page of traces."""
        entry = self._entries[index]
        starts = clip_places(self._clips, jitter=False, generator=torch.Generator())
        try:
            read = self._reader.read(
                self._source.entries[entry],
                self._source.modality,
                [LAST] if self._ahead_s is not None else starts,
            )
        except UnreadableError as error:
            return BadFile(error.path, error.reason)
        except DataError as error:
            return error
        crops = [
            centre_pixels(clip, self._resolution, place=place)
            for clip in read.pixels
            for place in self._views
        ]
        times = torch.from_numpy(np.repeat(read.times, len(self._views), axis=0))
        return _Read(entry, torch.stack(crops), times)

    def collate(self, items: list[_Read | BadFile | DataError]) -> LabelledBatch | DataError:
        """Put entries side by side, bad ones aside."""
        if wrong := next((item for item in items if isinstance(item, DataError)), None):
            return wrong
        read = [item for item in items if isinstance(item, _Read)]
        empty = torch.empty(0, self._frames, 3, *height_width(self._resolution), dtype=torch.uint8)
        pixels = torch.cat([empty, *(one.pixels for one in read)])
        entries = torch.tensor([one.entry for one in read], dtype=torch.long)
        labels = [self._source.entries[one.entry].label for one in read]
        numbered = torch.tensor([-1 if label is None else label for label in labels], dtype=torch.long)
        order = torch.arange(self.per_entry).repeat(len(read))
        return LabelledBatch(
            clip=normalise(pixels, mean=self._mean, std=self._std),
            labels=numbered.repeat_interleave(self.per_entry),
            entries=entries.repeat_interleave(self.per_entry),
            clips=order // len(self._views),
            views=order % len(self._views),
            times=torch.cat(
                [torch.empty(0, self._frames, dtype=torch.float64), *(one.times for one in read)]
            ),
            bad=tuple(item for item in items if isinstance(item, BadFile)),
        )
