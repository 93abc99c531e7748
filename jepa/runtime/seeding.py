"""Randomness as a pure function of (seed, step, sample), so that nothing about it needs saving."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from jepa.types import Rows


def derive(seed: int, *keys: int | str) -> int:
    """Mix ``seed`` and ``keys`` into one 63-bit seed; neighbouring keys give unrelated seeds."""
    text = "/".join(str(key) for key in (seed, *keys))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *keys: int | str) -> torch.Generator:
    """Return a CPU generator that depends on ``seed`` and ``keys`` alone.

    Example: ``generator(config.seed, "masks", step)`` draws the same masks in a resumed run.
    """
    return torch.Generator().manual_seed(derive(seed, *keys))


def seed_everything(seed: int, *keys: int | str) -> None:
    """Seed torch's global generators (dropout, stochastic depth, initialisation) from ``seed`` and ``keys``."""
    torch.manual_seed(derive(seed, *keys))


_rows: list[Rows] = []  # no context variable: recomputation in the backward pass runs in threads of its own


@contextmanager
def rows_of_batch(rows: Rows | None) -> Iterator[None]:
    """While entered, samples stand at ``rows`` of the step's whole batch, as `rand_per_sample` needs to know."""
    if rows is None:
        yield
        return
    _rows.append(rows)
    try:
        yield
    finally:
        _rows.pop()


def rand_per_sample(samples: int, device: torch.device) -> Tensor:
    """Draw one number per sample from [0, 1), (samples,): the same for a sample in whichever part of its batch it is.

    The numbers of the whole batch are drawn from torch's global generator, and those of the rows kept.
    """
    first, total = _rows[-1] if _rows else Rows(0, samples)
    return torch.rand(total, device=device)[first : first + samples]
