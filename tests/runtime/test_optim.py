"""Decay groups and rates."""

import torch

from jepa.objectives import build
from jepa.runtime.optim import build_optimizer, set_rates
from tests.conftest import tiny_config


def test_only_matrices_are_decayed_and_nothing_is_forgotten() -> None:
    config = tiny_config("joint")
    objective = build(config)
    optimizer = build_optimizer(objective, config.optim)
    decayed, free = (set(group["params"]) for group in optimizer.param_groups)
    named = dict(objective.named_parameters())
    assert {p for p in named.values() if p.requires_grad} == decayed | free
    assert objective.predictor.mask_tokens in free
    assert all(p.ndim >= 2 for p in decayed)
    assert not any(name.endswith("bias") or "norm" in name for name, p in named.items() if p in decayed)


def test_rates_are_written_into_the_groups() -> None:
    config = tiny_config(optim={"steps": 10, "learning_rate": 0.5, "warmup_steps": 4, "weight_decay": 0.1})
    optimizer = build_optimizer(torch.nn.Linear(2, 2), config.optim)
    assert set_rates(optimizer, 2, config.optim) == (0.25, 0.1)
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.25, 0.1), (0.25, 0.0)]
