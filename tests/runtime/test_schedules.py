"""Schedules are functions of the step."""

import pytest

from jepa.config.method import EmaConfig
from jepa.config.schema import OptimConfig
from jepa.runtime.schedules import learning_rate, momentum, weight_decay


def rates(**knobs: object) -> list[float]:
    config = OptimConfig(steps=100, learning_rate=1.0, final_learning_rate=0.1, **knobs)
    return [learning_rate(step, config) for step in range(101)]


def test_warmup_then_cosine() -> None:
    values = rates(warmup_steps=10, warmup_from=0.2)
    assert values[0] == 0.2
    assert values[5] == pytest.approx(0.6)
    assert values[10] == 1.0
    assert values[55] == pytest.approx(0.55)
    assert values[100] == pytest.approx(0.1)
    assert all(a > b for a, b in zip(values[10:], values[11:], strict=False))


def test_constant_with_cooldown() -> None:
    values = rates(schedule="constant", cooldown_steps=20)
    assert set(values[:81]) == {1.0}
    assert values[90] == pytest.approx(0.55)
    assert values[100] == pytest.approx(0.1)


def test_weight_decay_and_momentum_are_constant_unless_an_end_is_given() -> None:
    config = OptimConfig(steps=100, learning_rate=1.0, weight_decay=0.04)
    assert {weight_decay(step, config) for step in range(100)} == {0.04}
    rising = OptimConfig(steps=100, learning_rate=1.0, weight_decay=0.04, final_weight_decay=0.4)
    assert weight_decay(50, rising) == pytest.approx(0.22)
    assert {momentum(step, EmaConfig(momentum=0.9), steps=100) for step in range(100)} == {0.9}
    assert momentum(50, EmaConfig(momentum=0.9, momentum_end=1.0), steps=100) == pytest.approx(0.95)
