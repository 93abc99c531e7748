"""Known accelerators, and how they are named."""

import pytest

from jepa.config.hardware import ACCELERATORS, Hardware, parse_hardware
from jepa.errors import ConfigError


def test_a_name_and_a_count_are_read() -> None:
    assert parse_hardware("h100:64") == Hardware("h100", 64)
    assert parse_hardware("A100-80") == Hardware("a100-80", 1)


@pytest.mark.parametrize("text", ["v100", "v100:8", ":8", ""])
def test_an_unknown_name_is_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigError, match=r"not a known accelerator; known: h100, h200, a100-80, .*, cpu"):
        parse_hardware(text)


@pytest.mark.parametrize("text", ["h100:", "h100:0", "h100:-1", "h100:1.5", "h100:eight"])
def test_a_count_that_is_none_is_answered(text: str) -> None:
    with pytest.raises(ConfigError, match="whole number of at least 1"):
        parse_hardware(text)


def test_machines_are_filled_before_the_next_one_is_taken() -> None:
    assert [Hardware("h100", count).machines for count in (1, 8, 9, 512)] == [1, 1, 2, 64]


def test_a_ring_between_machines_leaves_through_every_network_card() -> None:
    h100 = ACCELERATORS["h100"]
    assert Hardware("h100", 8).link == h100.inside
    assert Hardware("h100", 16).link == min(h100.inside, 8 * h100.between)
    assert (
        Hardware("l40s", 16).link == ACCELERATORS["l40s"].inside
    )  # its cards are faster than its PCIe links


@pytest.mark.parametrize("name", ACCELERATORS)
def test_numbers_are_in_the_units_that_they_claim(name: str) -> None:
    one = ACCELERATORS[name]
    assert 1e11 < one.float32 <= one.bfloat16 < 1e16
    assert 1e10 < one.memory < 1e12
    assert 1e10 < one.memory_bandwidth < 1e14
    assert 1e8 < one.between <= one.inside < one.memory_bandwidth
    assert one.peak("bfloat16") == one.bfloat16
    assert one.peak("float32") == one.float32
