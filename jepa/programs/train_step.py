"""One optimizer step of any objective."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from jepa.errors import NonFiniteError
from jepa.programs.state import State
from jepa.runtime.device import autocast
from jepa.runtime.optim import set_rates
from jepa.runtime.seeding import rows_of_batch, seed_everything
from jepa.runtime.stopwatch import Stopwatch
from jepa.types import BadFile


class TrainingBatch(Protocol):
    """What a step needs of its batch."""

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """Files that were skipped while it was put together."""

    def to(self, device: torch.device | str) -> Self:
        """Copy it to a device."""

    def split(self, parts: int) -> list[Self]:
        """Cut it into equal micro-batches."""


T = TypeVar("T", bound=TrainingBatch)


def train_step(state: State[Any, Any], batch: TrainingBatch) -> dict[str, Tensor | float]:
    """Make one update and return its signals.

    Raises NonFiniteError, leaving weights and optimizer alone, if the loss or a gradient is not finite.
    """
    config = state.config
    rate, decay = set_rates(state.optimizer, state.step, config.optim)
    state.optimizer.zero_grad(set_to_none=True)
    forward = Stopwatch(state.device)
    signals = state.ranks.mean(accumulate_gradients(state, batch, forward))
    norm = gradient_norm(state.objective, config.optim.clip_grad)
    if not torch.isfinite(signals["loss"] + norm):
        raise NonFiniteError(explain_non_finite(state, signals["loss"], norm, rate))
    state.optimizer.step()
    state.step += 1
    own = {
        "forward_seconds": forward.seconds
    }  # of this process: a slow one shows here, all wait for it elsewhere
    return {**signals, **own, "gradient_norm": norm, "learning_rate": rate, "weight_decay": decay}


def accumulate_gradients(
    state: State[Any, Any], batch: TrainingBatch, forward: Stopwatch
) -> dict[str, Tensor]:
    """Run forward and backward over the micro-batches; return the signals' means over them, detached."""
    parts = batch.split(state.config.optim.accumulate)
    collected: list[dict[str, Tensor]] = []
    for number, part in enumerate(parts):
        # Stochastic depth, SIGReg's directions: alike for every part, and for every process, of the step's batch.
        seed_everything(state.config.seed, "step", state.step)
        with rows_of_batch(getattr(part, "rows", None)), last_sends(state, number == len(parts) - 1):
            with forward, autocast(state.device, state.config.dtype):
                signals = state.forward(part.to(state.device))
            (signals["loss"] / len(parts)).backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        collected.append({name: value.detach() for name, value in signals.items()})
    return {name: torch.stack([signals[name] for signals in collected]).mean() for name in collected[0]}


@contextmanager
def last_sends(state: State[Any, Any], last: bool) -> Iterator[None]:
    """Keep gradients of all micro-batches but the last on this process; the sum of them is sent once."""
    if isinstance(state.forward, DistributedDataParallel) and not last:
        with state.forward.no_sync():
            yield
        return
    if state.sharded:
        state.objective.set_requires_gradient_sync(last)
    yield


def gradient_norm(module: nn.Module, limit: float | None) -> Tensor:
    """Return the global gradient norm, and scale the gradients down to ``limit`` when it is given."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if isinstance(norm, DTensor):  # of shards
        norm = norm.full_tensor()
    if limit is not None:
        trained = [parameter for parameter in module.parameters() if parameter.grad is not None]
        nn.utils.clip_grads_with_norm_(trained, limit, norm)
    return norm


def explain_non_finite(state: State[Any, Any], loss: Tensor, norm: Tensor, rate: float) -> str:
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
