"""One optimizer step, and the state it moves."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jepa.config.method import EmaConfig
from jepa.config.schema import PretrainConfig
from jepa.errors import CheckpointError, NonFiniteError
from jepa.objectives import Objective, build
from jepa.runtime.checkpoint import find_checkpoint, load_checkpoint
from jepa.runtime.device import autocast
from jepa.runtime.optim import build_optimizer, set_rates
from jepa.runtime.schedules import momentum
from jepa.runtime.seeding import seed_everything
from jepa.types import Batch


@dataclass
class State:
    """Everything that changes while training. All else is a function of the config and ``step``."""

    config: PretrainConfig
    objective: Objective
    optimizer: torch.optim.Optimizer
    device: torch.device
    step: int = 0

    @classmethod
    def fresh(
        cls, config: PretrainConfig, device: torch.device, objective: Objective | None = None
    ) -> "State":
        """Build the state of step 0; weights are drawn from ``config.seed`` unless ``objective`` is given."""
        seed_everything(config.seed, "weights")
        objective = build(config) if objective is None else objective
        if config.initial_weights is not None:
            load_weights(objective, load_checkpoint(find_checkpoint(config.initial_weights)))
        objective = objective.to(device).train()
        if config.compile:
            for part in (objective.encoder, objective.predictor, objective.probed):
                part.compile()
        return cls(config, objective, build_optimizer(objective, config.optim), device)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "step": self.step,
            "config": self.config.model_dump(mode="json"),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned. Raises CheckpointError when it is another model's."""
        load_weights(self.objective, state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def load_weights(objective: Objective, state: dict[str, Any]) -> None:
    """Copy the weights of a checkpoint into ``objective``. Raises CheckpointError when they are another model's."""
    try:
        objective.load_state_dict(state["objective"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"the checkpoint does not fit this configuration: {error}") from error


def train_step(state: State, batch: Batch) -> dict[str, Tensor | float]:
    """Make one update and return its signals.

    Raises NonFiniteError, leaving weights and optimizer alone, if the loss or a gradient is not finite.
    """
    config = state.config
    seed_everything(config.seed, "step", state.step)  # stochastic depth, SIGReg's directions
    rate, decay = set_rates(state.optimizer, state.step, config.optim)
    state.optimizer.zero_grad(set_to_none=True)
    signals = accumulate_gradients(state, batch)
    norm = gradient_norm(state.objective, config.optim.clip_grad)
    if not torch.isfinite(signals["loss"] + norm):
        raise NonFiniteError(explain_non_finite(state, signals["loss"], norm, rate))
    state.optimizer.step()
    extra = {}
    if isinstance(config.objective, EmaConfig):
        extra["momentum"] = momentum(state.step, config.objective, steps=config.optim.steps)
        state.objective.update_target(extra["momentum"])
    state.step += 1
    return {
        **signals,
        **extra,
        **mask_fractions(state, batch),
        "gradient_norm": norm,
        "learning_rate": rate,
        "weight_decay": decay,
    }


def mask_fractions(state: State, batch: Batch) -> dict[str, float]:
    """Return which fraction of all tokens is context and which is target, averaged over the patterns."""
    tokens = state.objective.encoder.grid(batch.clip.shape).tokens * len(batch.masks)
    return {
        "context_fraction": sum(masks.context.shape[1] for masks in batch.masks) / tokens,
        "target_fraction": sum(masks.target.shape[1] for masks in batch.masks) / tokens,
    }


def accumulate_gradients(state: State, batch: Batch) -> dict[str, Tensor]:
    """Run forward and backward over the micro-batches; return the signals' means over them, detached."""
    parts = batch.split(state.config.optim.accumulate)
    collected: list[dict[str, Tensor]] = []
    for part in parts:
        with autocast(state.device, state.config.dtype):
            signals = state.objective(part.to(state.device))
        (signals["loss"] / len(parts)).backward()
        collected.append({name: value.detach() for name, value in signals.items()})
    return {name: torch.stack([signals[name] for signals in collected]).mean() for name in collected[0]}


def gradient_norm(module: nn.Module, limit: float | None) -> Tensor:
    """Return the global gradient norm, and scale the gradients down to ``limit`` when it is given."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if limit is not None:
        trained = [parameter for parameter in module.parameters() if parameter.grad is not None]
        nn.utils.clip_grads_with_norm_(trained, limit, norm)
    return norm


def explain_non_finite(state: State, loss: Tensor, norm: Tensor, rate: float) -> str:
    """Say which values are not finite, where, and what to try."""
    bad = [
        name
        for name, parameter in state.objective.named_parameters()
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
    ]
    where = (
        f"gradients of {', '.join(bad[:3])}{' and more' if len(bad) > 3 else ''}"
        if bad
        else "the loss itself"
    )
    return (
        f"step {state.step}: loss {float(loss):.4g}, gradient norm {float(norm):.4g}, learning rate {rate:.3g}; "
        f"not finite in {where}. No weight was changed. Look at the last lines of metrics.jsonl for a rising norm, "
        "then lower optim.learning_rate, set optim.clip_grad, or use dtype: float32; the last checkpoint is whole"
    )
