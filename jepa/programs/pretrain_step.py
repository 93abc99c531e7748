"""One step of pre-training: the optimizer's, and the target encoder's after it."""

import torch
from torch import Tensor

from jepa.config.method import EmaConfig
from jepa.config.schema import PretrainConfig
from jepa.objectives import Objective, build
from jepa.programs.state import State
from jepa.programs.train_step import train_step
from jepa.runtime.distributed import ALONE, Ranks
from jepa.runtime.schedules import momentum
from jepa.runtime.seeding import seed_everything
from jepa.types import Batch

PretrainState = State[PretrainConfig, Objective]


def fresh_state(
    config: PretrainConfig,
    device: torch.device,
    objective: Objective | None = None,
    ranks: Ranks = ALONE,
) -> PretrainState:
    """Build the state of step 0; weights are drawn from ``config.seed`` unless ``objective`` is given."""
    seed_everything(config.seed, "weights")
    state = State.begin(config, build(config) if objective is None else objective, device, ranks)
    if config.compile:
        for part in (state.objective.encoder, state.objective.predictor, state.objective.probed):
            part.compile()
    return state


def pretrain_step(state: PretrainState, batch: Batch) -> dict[str, Tensor | float]:
    """Make one update as `train_step` does, let the target encoder follow, and return all signals."""
    config, step = state.config, state.step
    signals = train_step(state, batch)
    if isinstance(config.objective, EmaConfig):
        rate = momentum(step, config.objective, steps=config.optim.steps)
        state.objective.update_target(rate)
        signals["momentum"] = rate
    return {**signals, **mask_fractions(state, batch)}


def mask_fractions(state: PretrainState, batch: Batch) -> dict[str, float]:
    """Return which fraction of all tokens is context and which is target, averaged over the patterns."""
    tokens = state.objective.encoder.grid(batch.clip.shape).tokens * len(batch.masks)
    return {
        "context_fraction": sum(masks.context.shape[1] for masks in batch.masks) / tokens,
        "target_fraction": sum(masks.target.shape[1] for masks in batch.masks) / tokens,
    }
