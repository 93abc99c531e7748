"""Turn clips into frozen features: one pass over the data, whatever the number of encoders and poolings."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.models.pooling import POOLINGS, pool_tokens
from jepa.probes.rows import Rows
from jepa.types import Grid

Reader = Callable[[Tensor], Mapping[str, Tensor]]
"""Clip -> features by kind: (B, D') for a way of pooling, (B, N, D) for TOKENS."""

RAW_SIDE_PX = 16
RAW_TOKEN_SIDE_PX = 8  # the cost of an attentive head grows with the square of the width
EVEN = 16  # attention heads must divide the width
RAW, TOKENS = "raw", "tokens"


class ClipBatch(Protocol):
    """What is read of a batch of clips."""

    @property
    def clip(self) -> Tensor:
        """(B, C, T, H, W) float, normalised; B may be 0 where every file of the batch was bad."""
        ...

    @property
    def entries(self) -> Tensor:
        """(B,) long: which entry of the source each clip was cut from."""
        ...


Clips = TypeVar("Clips", bound=ClipBatch)


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
    """Frozen features of the clips of a source."""

    values: Rows  # (n, D') or (n, N, D) on the CPU, or on disk
    entries: Tensor  # (n,) long: the entry that each clip was cut from


def read_features(
    readers: Mapping[str, Reader], batches: Iterable[Clips], *, device: torch.device | str = "cpu"
) -> Iterator[tuple[Clips, dict[str, dict[str, Tensor]]]]:
    """Run several readers over one pass of the data: every batch with row -> kind -> features on the CPU.

    Every reader sees the same clips in the same order. A batch without a clip gives no features.
    """
    for batch in batches:
        rows: dict[str, dict[str, Tensor]] = {}
        if len(batch.entries):
            with torch.inference_mode():
                on_device = batch.clip.to(device, non_blocking=True)
                for row, read in readers.items():
                    rows[row] = {kind: values.float().cpu() for kind, values in read(on_device).items()}
        yield batch, rows


def extract_rows(
    readers: Mapping[str, Reader], batches: Iterable[ClipBatch], *, device: torch.device | str = "cpu"
) -> dict[str, dict[str, Features]]:
    """Collect what `read_features` gives in memory: row -> kind -> features.

    Raises DataError when there is no clip.
    """
    parts: dict[str, dict[str, list[Tensor]]] = {row: {} for row in readers}
    entries: list[Tensor] = []
    for batch, rows in read_features(readers, batches, device=device):
        entries.append(batch.entries)
        for row, kinds in rows.items():
            for kind, values in kinds.items():
                parts[row].setdefault(kind, []).append(values)
    joined = torch.cat(entries) if entries else torch.empty(0)
    if not len(joined):
        raise DataError("the source gave no clip; check its path and its bad files")
    return {
        row: {kind: Features(torch.cat(values), joined) for kind, values in kinds.items()}
        for row, kinds in parts.items()
    }


def token_reader(
    encoder: TokenEncoder, poolings: Sequence[str] = POOLINGS, *, tokens: bool = False, dtype: str = "float32"
) -> Reader:
    """Read a frozen encoder; it runs once per clip, whatever the number of poolings.

    ``tokens`` adds the tokens themselves. ``dtype`` is the precision of the forward pass, float32 or bfloat16.
    """

    def read(clip: Tensor) -> dict[str, Tensor]:
        grid = encoder.grid(clip.shape)
        with torch.autocast(clip.device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            found = encoder(clip)
        found = found.float()
        pooled = {how: pool_tokens(found, grid, how) for how in poolings}
        return pooled | ({TOKENS: found} if tokens else {})

    return read


def raw_reader(*, tokens: bool = False) -> Reader:
    """Read pixels instead of features: the baseline that any encoder must beat."""

    def read(clip: Tensor) -> dict[str, Tensor]:
        return {RAW: raw_pixels(clip)} | ({TOKENS: raw_tokens(clip)} if tokens else {})

    return read


def raw_pixels(clip: Tensor, side_px: int = RAW_SIDE_PX) -> Tensor:
    """Return a clip's pixels and their changes as one feature: (B, C, T, H, W) -> (B, (2T - 1) * h * w).

    Grey frames, shrunk by area averaging to a short side of ``side_px`` with the aspect kept (never
    enlarged), then all T frames and all T - 1 differences of neighbours, flattened. The differences are
    linear in the frames, but give motion axes of its own that the probe's weight decay weighs like
    brightness, so the baseline is a fair one for motion.
    """
    small = _small_frames(clip, side_px).flatten(2)  # (B, T, h * w)
    return torch.cat([small, small.diff(dim=1)], dim=1).flatten(1)


def raw_tokens(clip: Tensor, side_px: int = RAW_TOKEN_SIDE_PX) -> Tensor:
    """Return what `raw_pixels` does as one token per frame: (B, C, T, H, W) -> (B, T, 2 * h * w + T, and some zeros).

    A token is a small frame, its change since the frame before, and the place of the frame in the clip as a
    one-hot vector, since attention by itself does not know the order. Zeros fill the width up to a multiple of 16.
    """
    small = _small_frames(clip, side_px).flatten(2)  # (B, T, h * w)
    change = F.pad(small.diff(dim=1), (0, 0, 1, 0))
    place = math.sqrt(small.shape[2]) * torch.eye(small.shape[1], device=small.device).expand(
        len(small), -1, -1
    )
    tokens = torch.cat([small, change, place], dim=2)
    return F.pad(tokens, (0, -tokens.shape[2] % EVEN))


def _small_frames(clip: Tensor, side_px: int) -> Tensor:
    """Shrink grey frames to a short side of at most ``side_px``: (B, C, T, H, W) -> (B, T, h, w)."""
    grey = clip.float().mean(dim=1)  # (B, T, H, W)
    shrink = min(1.0, side_px / min(clip.shape[-2:]))
    height, width = (max(1, round(edge * shrink)) for edge in clip.shape[-2:])
    return F.adaptive_avg_pool2d(grey, (height, width))
