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
    for name in ("flops", "backward_flops"):
        assert getattr(deep, name) == 2 * getattr(STACK, name)
    for last in (False, True):
        assert deep.recomputed_flops(last=last) == 2 * STACK.recomputed_flops(last=last)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpointing_keeps_one_vector_per_token_and_block(dtype: str) -> None:
    number = NumberBytes.of(dtype, gpu=True)
    kept = STACK.kept_bytes(number, recompute=True)
    tables = 1 if dtype == "float32" else 2  # of 32 numbers per token: as complex ones, or cosines and sines
    assert kept == STACK.depth * 64 * 192 * number.product + tables * 64 * 32 * 4
    assert kept < STACK.kept_bytes(number, recompute=False) / 9


def test_float32_keeps_fewer_numbers_and_bfloat16_fewer_bytes() -> None:
    low = {gpu: NumberBytes.of("bfloat16", gpu=gpu) for gpu in (False, True)}
    whole, cpu, gpu = (STACK.kept_bytes(one, recompute=False) for one in (FLOAT32, low[False], low[True]))
    assert whole / 2 < cpu < gpu < whole
    assert gpu - cpu == STACK.depth * 64 * 2 * 192 * 2  # two norms per block


def test_positions_that_are_added_keep_nothing_in_the_blocks() -> None:
    added, low = replace(STACK, rotary=False), NumberBytes.of("bfloat16", gpu=False)
    assert (added.table, STACK.table) == (0, 32)
    assert STACK.block_bytes(FLOAT32) == added.block_bytes(FLOAT32)
    assert STACK.block_bytes(low) - added.block_bytes(low) == 64 * 2 * 32 * 2  # cosines and sines, copied
