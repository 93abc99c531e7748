"""Formulas of one transformer stack; `tests/programs/test_step_cost.py` checks them against torch's counters."""

from dataclasses import replace

import pytest
import torch

from jepa.models.cost import NumberBytes, Stack, count_parameters
from jepa.objectives import build
from tests.conftest import tiny_config

FLOAT32 = NumberBytes.of("float32", gpu=True)
STACK = Stack(width=192, depth=6, heads=6, mlp_ratio=4.0, tokens=64)


def test_parameters_are_counted_on_the_meta_device_as_on_the_real_one() -> None:
    config = tiny_config("vjepa")
    with torch.device("meta"):
        meta = count_parameters(build(config))
    real = build(config)
    assert meta == count_parameters(real)
    assert meta.trained == sum(p.numel() for p in real.parameters() if p.requires_grad)
    assert meta.frozen == sum(p.numel() for p in real.target_encoder.parameters())


def test_only_attention_grows_with_the_square_of_the_tokens() -> None:
    twice = replace(STACK, tokens=2 * STACK.tokens)
    assert twice.linear_flops == 2 * STACK.linear_flops
    assert twice.attention_flops == 4 * STACK.attention_flops


def test_everything_is_proportional_to_the_blocks() -> None:
    deep = replace(STACK, depth=2 * STACK.depth)
    for name in ("flops", "backward_flops", "recomputed_flops"):
        assert getattr(deep, name) == 2 * getattr(STACK, name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpointing_keeps_one_vector_per_token_and_block(dtype: str) -> None:
    number = NumberBytes.of(dtype, gpu=True)
    kept = STACK.kept_bytes(number, recompute=True)
    assert kept == STACK.depth * 64 * 192 * number.product + 2 * 64 * 30 * 4  # and one rotary table
    assert kept < STACK.kept_bytes(number, recompute=False) / 10


def test_half_the_bytes_are_half_the_memory_but_for_norms_and_tables() -> None:
    whole, cpu, gpu = (
        STACK.kept_bytes(number, recompute=False)
        for number in (FLOAT32, NumberBytes.of("bfloat16", gpu=False), NumberBytes.of("bfloat16", gpu=True))
    )
    assert whole / 2 < cpu < gpu < 0.65 * whole
    assert gpu - cpu == STACK.depth * 64 * 2 * 192 * 2  # two norms per block


def test_positions_that_are_added_keep_nothing_in_the_blocks() -> None:
    added = replace(STACK, rotary=False)
    assert added.rotated == 0
    assert STACK.rotated == 30  # of 32 channels of a head, three even parts
    assert STACK.block_bytes(FLOAT32) - added.block_bytes(FLOAT32) == 64 * 3 * 192 * 4
