"""AdamW with decay groups."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

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


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Return the optimizer's state by names, PARAMETER/KEY; before the first step it is zeros, made here.

    Hyperparameters are not in it: `set_rates` writes them before every step.
    """
    named: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        state = optimizer.state[parameter]
        if not state:  # as AdamW makes it in its first step
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        named |= {f"{name}/{key}": value for key, value in state.items()}
    return named


def by_names(
    state: Mapping[str, Any], optimizer: torch.optim.Optimizer, module: nn.Module
) -> dict[str, Tensor]:
    """Return an optimizer's ``state_dict`` by the names of `optimizer_tensors`; what has them is as it is."""
    if "param_groups" not in state:
        return dict(state)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    return {
        f"{order[number]}/{key}": value
        for number, values in state["state"].items()
        for key, value in values.items()
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Copy ``tensors``, whole and named as `optimizer_tensors` names them, into the optimizer.

    Raises KeyError for one that is missing.
    """
    for name, value in optimizer_tensors(optimizer, module).items():
        copy_whole(value, tensors[name])


@torch.no_grad()
def copy_whole(into: Tensor, whole: Tensor) -> None:
    """Copy a whole tensor into a tensor of this process, or into its shard of one."""
    mesh = getattr(into, "device_mesh", None)
    if mesh is None:
        into.copy_(whole)
        return
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(into, DTensor)
    # Every rank has the whole tensor, so that nothing needs to be sent.
    part = distribute_tensor(whole.to(into.device), mesh, into.placements, src_data_rank=None)
    into.to_local().copy_(part.to_local())
