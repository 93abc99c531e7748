"""The state that training moves, saved whole."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from jepa.config.schema import TrainingConfig
from jepa.errors import CheckpointError
from jepa.runtime.checkpoint import find_checkpoint, load_checkpoint
from jepa.runtime.optim import build_optimizer

C = TypeVar("C", bound=TrainingConfig)
M = TypeVar("M", bound=nn.Module)


@dataclass
class State(Generic[C, M]):
    """Everything that changes while training. All else is a function of the config and ``step``."""

    config: C
    objective: M
    """Maps a batch to a dictionary with ``loss`` and health signals."""
    optimizer: torch.optim.Optimizer
    device: torch.device
    step: int = 0

    @classmethod
    def begin(cls, config: C, objective: M, device: torch.device) -> "State[C, M]":
        """Return the state of step 0, with the initial weights that ``config`` names."""
        if config.initial_weights is not None:
            load_weights(
                objective, load_checkpoint(find_checkpoint(config.initial_weights), program=config.program)
            )
        objective = objective.to(device).train()
        return cls(config, objective, build_optimizer(objective, config.optim), device)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "step": self.step,
            "program": self.config.program,
            "config": self.config.model_dump(mode="json"),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned. Raises CheckpointError when it is another model's."""
        load_weights(self.objective, state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def load_weights(objective: nn.Module, state: dict[str, Any]) -> None:
    """Copy the weights of a checkpoint into ``objective``. Raises CheckpointError when they are another model's."""
    try:
        objective.load_state_dict(state["objective"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"the checkpoint does not fit this configuration: {error}") from error
