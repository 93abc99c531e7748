"""Randomness as a pure function of (seed, step, sample), so that nothing about it needs saving."""

import hashlib

import torch


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
