"""Randomness as a function of its keys."""

import torch

from jepa.runtime.seeding import derive, generator


def test_equal_keys_draw_alike_and_neighbours_do_not() -> None:
    assert torch.equal(
        torch.rand(5, generator=generator(1, "a", 2)), torch.rand(5, generator=generator(1, "a", 2))
    )
    seeds = {
        derive(seed, *keys)
        for seed in range(10)
        for keys in [("a", step) for step in range(100)] + [("b", 1), (11,), (1, 1)]
    }
    assert len(seeds) == 10 * 103
