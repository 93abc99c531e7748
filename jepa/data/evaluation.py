"""Clips for measuring: every entry of a source once, in order, nothing random."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jepa.config.data import ReadConfig
from jepa.data.decode import Decoder, resolve_decoder
from jepa.data.reading import ClipReader
from jepa.data.sampling import clip_places
from jepa.data.sources import Source
from jepa.data.video import UnreadableError
from jepa.preprocess import centre_pixels, height_width, normalise
from jepa.types import BadFile


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """Clips with what is known about them. Clips of one video are neighbours."""

    clip: Tensor  # (B, C, T, H, W) float, normalised; B is 0 where all files of the batch are bad
    labels: Tensor  # (B,) long, -1 where there is none
    entries: Tensor  # (B,) long: places in `Source.entries`
    names: tuple[str, ...]
    """(B,) paths, with the frames where an entry is a part of a file."""
    bad: tuple[BadFile, ...] = ()
    """Files that were skipped."""


def labelled_clips(source: Source, data: ReadConfig, *, clips_per_video: int = 1) -> Iterator[LabelledBatch]:
    """Return all entries of ``source`` as batches of about ``data.batch_size`` clips.

    A video gives ``clips_per_video`` clips spread evenly over it (one: the centre), every one preprocessed as
    by `jepa.preprocess.preprocess`: ``data.jitter``, ``data.augment``, and ``data.clips_per_video`` are for
    training alone.
    """
    dataset = _Entries(source, data, clips=clips_per_video, decoder=resolve_decoder(data.decoder))
    loader = DataLoader(
        dataset,
        batch_size=max(1, data.batch_size // dataset.clips),
        num_workers=data.workers,
        collate_fn=dataset.collate,
        generator=torch.Generator(),  # else the loader would draw from torch's global one
    )
    return iter(loader)


class _Entries(Dataset["tuple[int, Tensor] | BadFile"]):
    """Maps the place of an entry to it and its clips, (clips, T, C, H, W) uint8."""

    def __init__(self, source: Source, data: ReadConfig, *, clips: int, decoder: Decoder) -> None:
        self.clips = clips if source.modality == "video" else 1
        self._source = source
        self._resolution, self._mean, self._std = data.resolution, data.mean, data.std
        self._frames = data.frames_per_clip if source.modality == "video" else 1
        self._reader = ClipReader(data, decoder=decoder)

    def __len__(self) -> int:
        return len(self._source.entries)

    def __getitem__(self, place: int) -> tuple[int, Tensor] | BadFile:
        places = clip_places(self.clips, jitter=False, generator=torch.Generator())
        try:
            frames = self._reader.read(self._source.entries[place], self._source.modality, places)
        except UnreadableError as error:
            return BadFile(error.path, error.reason)
        return place, torch.stack([centre_pixels(clip, self._resolution) for clip in frames])

    def collate(self, items: list[tuple[int, Tensor] | BadFile]) -> LabelledBatch:
        """Put entries side by side, bad ones aside."""
        read = [item for item in items if not isinstance(item, BadFile)]
        bad = tuple(item for item in items if isinstance(item, BadFile))
        empty = torch.empty(0, self._frames, 3, *height_width(self._resolution), dtype=torch.uint8)
        pixels = torch.cat([empty, *(clips for _, clips in read)])
        places = [place for place, clips in read for _ in clips]
        entries = [self._source.entries[place] for place in places]
        whole = [entry.start == 0 and entry.end is None for entry in entries]
        return LabelledBatch(
            clip=normalise(pixels, mean=self._mean, std=self._std),
            labels=torch.tensor(
                [-1 if entry.label is None else entry.label for entry in entries], dtype=torch.long
            ),
            entries=torch.tensor(places, dtype=torch.long),
            names=tuple(
                entry.path
                if complete
                else f"{entry.path}[{entry.start}:{'' if entry.end is None else entry.end}]"
                for entry, complete in zip(entries, whole, strict=True)
            ),
            bad=bad,
        )
