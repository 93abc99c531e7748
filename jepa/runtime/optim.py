"""AdamW with decay groups."""

import torch
from torch import nn

from jepa.config.schema import OptimConfig
from jepa.runtime.schedules import learning_rate, weight_decay


def build_optimizer(module: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters; only matrices are decayed.

    Biases, norms and mask tokens are not: they are vectors, or (for ``mask_tokens``) one vector per row.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (free if parameter.ndim < 2 or name.endswith("mask_tokens") else decayed).append(parameter)
    groups = [{"params": decayed, "decayed": True}, {"params": free, "decayed": False, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, step: int, config: OptimConfig) -> tuple[float, float]:
    """Write the learning rate and weight decay of ``step`` into the optimizer and return them."""
    rate, decay = learning_rate(step, config), weight_decay(step, config)
    for group in optimizer.param_groups:
        group["lr"] = rate
        if group["decayed"]:
            group["weight_decay"] = decay
    return rate, decay
