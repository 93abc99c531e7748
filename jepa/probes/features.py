"""Turn clips into frozen features: one pass over the data, whatever the number of encoders and poolings."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.models.pooling import POOLINGS, pool_tokens
from jepa.types import Grid

Reader = Callable[[Tensor], Mapping[str, Tensor]]  # clip -> one (B, D') feature per way of pooling

RAW_SIDE_PX = 16
RAW = "raw"
STRETCH = re.compile(r"\[[^\[\]]*:[^\[\]]*\]$")  # "drive.mp4[10:25]": stretches of one file are one group


class LabelledBatch(Protocol):
    """What is read of a batch of labelled clips."""

    @property
    def clip(self) -> Tensor:
        """(B, C, T, H, W) float, normalised; B may be 0 where every file of the batch was bad."""
        ...

    @property
    def labels(self) -> Tensor:
        """(B,) long."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """(B,) paths of the videos, with ``[start:end]`` behind those of a stretch of a file."""
        ...


class TokenEncoder(Protocol):
    """What is asked of an encoder: tokens, and where they lie."""

    def __call__(self, clip: Tensor, /) -> Tensor:
        """(B, C, T, H, W) -> (B, N, D)."""
        ...

    def grid(self, shape: torch.Size, /) -> Grid:
        """Return the grid of the tokens of a clip of ``shape``."""
        ...


@dataclass(frozen=True, slots=True)
class Features:
    """Frozen features of labelled clips."""

    values: Tensor  # (n, D') float32 on the CPU
    labels: Tensor  # (n,) long
    groups: tuple[str, ...]  # the video each clip was cut from; clips of one video must not be split


def extract(
    encoder: TokenEncoder,
    batches: Iterable[LabelledBatch],
    *,
    poolings: Sequence[str] = POOLINGS,
    device: torch.device | str = "cpu",
) -> dict[str, Features]:
    """Return the features of every clip, one set per pooling, from one forward pass each.

    Raises DataError when there is no clip.
    """
    return extract_rows({"": token_reader(encoder, poolings)}, batches, device=device)[""]


@torch.inference_mode()
def extract_rows(
    readers: Mapping[str, Reader], batches: Iterable[LabelledBatch], *, device: torch.device | str = "cpu"
) -> dict[str, dict[str, Features]]:
    """Run several readers over one pass of the data: row name -> pooling -> features.

    Every reader sees the same clips in the same order. Raises DataError when there is no clip.
    """
    parts: dict[str, dict[str, list[Tensor]]] = {row: {} for row in readers}
    labels: list[Tensor] = []
    groups: list[str] = []
    for batch in batches:
        if len(batch.labels) == 0:
            continue
        on_device = batch.clip.to(device)
        for row, read in readers.items():
            for how, values in read(on_device).items():
                parts[row].setdefault(how, []).append(values.float().cpu())
        labels.append(batch.labels.cpu())
        groups.extend(STRETCH.sub("", name) for name in batch.names)
    if not labels:
        raise DataError("the labelled source gave no clip; check its path and its labels")
    joined = torch.cat(labels)
    return {
        row: {how: Features(torch.cat(values), joined, tuple(groups)) for how, values in pooled.items()}
        for row, pooled in parts.items()
    }


def token_reader(encoder: TokenEncoder, poolings: Sequence[str] = POOLINGS) -> Reader:
    """Read pooled tokens of a frozen encoder; it runs once per clip, whatever the number of poolings."""

    def read(clip: Tensor) -> dict[str, Tensor]:
        tokens, grid = encoder(clip), encoder.grid(clip.shape)
        return {how: pool_tokens(tokens, grid, how) for how in poolings}

    return read


def raw_reader(clip: Tensor) -> dict[str, Tensor]:
    """Read pixels instead of features: the baseline that any encoder must beat."""
    return {RAW: raw_pixels(clip)}


def raw_pixels(clip: Tensor, side_px: int = RAW_SIDE_PX) -> Tensor:
    """Return a clip's pixels and their changes as one feature: (B, C, T, H, W) -> (B, (2T - 1) * h * w).

    Grey frames, shrunk by area averaging to a short side of ``side_px`` with the aspect kept (never
    enlarged), then all T frames and all T - 1 differences of neighbours, flattened. The differences are
    linear in the frames, but give motion axes of its own that the probe's weight decay weighs like
    brightness, so the baseline is a fair one for motion.
    """
    grey = clip.float().mean(dim=1).flatten(0, 1)[:, None]  # (B * T, 1, H, W)
    shrink = min(1.0, side_px / min(clip.shape[-2:]))
    height, width = (max(1, round(edge * shrink)) for edge in clip.shape[-2:])
    small = F.adaptive_avg_pool2d(grey, (height, width)).view(
        clip.shape[0], clip.shape[2], -1
    )  # (B, T, h * w)
    return torch.cat([small, small.diff(dim=1)], dim=1).flatten(1)
