"""The state that training moves, saved whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from jepa.config.schema import TrainingConfig
from jepa.errors import CheckpointError
from jepa.programs.engine import Forward, spread_out
from jepa.runtime.checkpoint import find_checkpoint, load_checkpoint
from jepa.runtime.distributed import ALONE, Ranks
from jepa.runtime.optim import (
    build_optimizer,
    by_names,
    copy_whole,
    load_optimizer_tensors,
    optimizer_tensors,
)
from jepa.runtime.sharded import read_facts, read_into

C = TypeVar("C", bound=TrainingConfig)
M = TypeVar("M", bound=nn.Module)


@dataclass
class State(Generic[C, M]):
    """Everything that changes while training. All else is a function of the config and ``step``."""

    config: C
    objective: M
    """Maps a batch to a dictionary with ``loss`` and health signals."""
    forward: Forward
    """Calls the objective as the processes that train it together need it to be called."""
    optimizer: torch.optim.Optimizer
    device: torch.device
    ranks: Ranks = ALONE
    step: int = 0

    @classmethod
    def begin(cls, config: C, objective: M, device: torch.device, ranks: Ranks = ALONE) -> "State[C, M]":
        """Return the state of step 0, with the initial weights that ``config`` names.

        Raises ConfigError where a batch cannot be shared out among ``ranks``.
        """
        if config.initial_weights is not None:
            load_weights(
                objective, load_checkpoint(find_checkpoint(config.initial_weights), program=config.program)
            )
        objective = objective.to(device).train()
        forward = spread_out(objective, config, ranks)
        return cls(config, objective, forward, build_optimizer(objective, config.optim), device, ranks)

    @property
    def sharded(self) -> bool:
        """Whether each process holds a part of every weight."""
        return self.ranks.size > 1 and self.config.distributed.engine == "fsdp"

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside tensors."""
        return {
            "step": self.step,
            "program": self.config.program,
            "config": self.config.model_dump(mode="json"),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint in one file holds."""
        return {
            **self.facts(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint in parts holds, by names; of sharded tensors, this process's parts."""
        weights = {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        moments = optimizer_tensors(self.optimizer, self.objective)
        return weights | {f"optimizer.{name}": value for name, value in moments.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `load_checkpoint` returned. Raises CheckpointError when it is another model's."""
        load_weights(self.objective, state)
        if "param_groups" in state["optimizer"] and not self.sharded:
            self.optimizer.load_state_dict(state["optimizer"])
        else:
            moments = by_names(state["optimizer"], self.optimizer, self.objective)
            load_optimizer_tensors(self.optimizer, self.objective, moments)
        self.step = state["step"]

    def load_parts(self, folder: Path) -> None:
        """Continue from a checkpoint in parts, of which each process reads its own."""
        read_into(folder, self.tensors())
        self.step = read_facts(folder)["step"]


def load_weights(objective: nn.Module, state: dict[str, Any]) -> None:
    """Copy the weights of a checkpoint into ``objective``. Raises CheckpointError when they are another model's."""
    try:
        if any(hasattr(parameter, "device_mesh") for parameter in objective.parameters()):
            for name, value in objective.state_dict().items():
                copy_whole(value, state["objective"][name])
        else:
            objective.load_state_dict(state["objective"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"the checkpoint does not fit this configuration: {error}") from error
