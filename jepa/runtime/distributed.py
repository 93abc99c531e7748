"""The processes that train together: who this one is, and what they agree on. One process needs no group."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from jepa.errors import RunError
from jepa.types import Share

TIMEOUT_MINUTES = 30  # decoding may be slow at first; a lost rank is noticed by its launcher long before

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; alone, every method returns at once."""

    rank: int = 0
    size: int = 1
    local: int = 0
    """Number of the process on its machine, and so of its GPU."""

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """Which part of every batch is this process's."""
        return Share(self.rank, self.size)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average scalars over the ranks, in one message."""
        if self.size == 1 or not values:
            return dict(values)
        together = torch.stack([value.detach().float() for value in values.values()])
        dist.all_reduce(together)
        return dict(zip(values, (together / self.size).unbind(), strict=True))

    def any(self, *flags: bool, device: torch.device) -> tuple[bool, ...]:
        """Return of each flag whether it is up on any rank."""
        if self.size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.float32, device=device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return tuple(value > 0 for value in raised.tolist())

    def gather(self, item: Any) -> list[Any]:
        """Return every rank's item, in order."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def main_first(self, make: Callable[[], T]) -> T:
        """Return what ``make`` gives; the main process calls it before the others do, for what it leaves behind."""
        if not self.main:
            self.wait()
        made = make()
        if self.main:
            self.wait()
        return made

    def wait(self) -> None:
        """Return when all ranks are here."""
        if self.size > 1:
            dist.barrier()


ALONE = Ranks()


def ranks_of_environment() -> Ranks:
    """Return who this process is, from what torchrun (or a SLURM job) put into the environment.

    Raises RunError where that is incomplete or not a number.
    """
    if "WORLD_SIZE" not in os.environ:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        rank, size, local = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError) as error:
        found = ", ".join(f"{name}={os.environ.get(name, 'unset')}" for name in names)
        raise RunError(
            f"the environment of this process is incomplete ({found}); start it with torchrun, which sets all three"
        ) from error
    return Ranks(rank, size, local)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the other processes of this run, and leave them at the end; alone, there is nothing to join.

    GPUs talk through NCCL, CPUs through gloo. ``device`` is that of the config.
    """
    ranks = ranks_of_environment()
    if ranks.size == 1:
        yield ranks
        return
    on_gpu = torch.cuda.is_available() and device in ("auto", "cuda")
    if on_gpu:
        torch.cuda.set_device(ranks.local)
    # Both engines: checkpoints and Python objects travel between CPUs.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=timedelta(minutes=TIMEOUT_MINUTES)
    )
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


class _SumOverRanks(torch.autograd.Function):
    """The sum over the ranks, of values in the forward pass and of their gradients in the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed


def mean_over_ranks(values: Tensor) -> Tensor:
    """Average ``values`` over the ranks, gradient included; alone, they are what they are.

    Where every rank computes the same loss from the averages, DDP's mean over ranks of its gradients is the
    gradient of that loss for the whole batch.
    """
    if not dist.is_initialized():
        return values
    summed: Tensor = _SumOverRanks.apply(values)
    return summed / dist.get_world_size()


def rows_of_all_ranks(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in order, (B, ...) -> (ranks * B, ...); gradients find their way back."""
    if not dist.is_initialized():
        return rows
    before, behind = dist.get_rank(), dist.get_world_size() - dist.get_rank() - 1
    # Every rank puts its rows into their place among zeros; the sum of all is all rows.
    empty = torch.zeros_like(rows)
    placed: Tensor = _SumOverRanks.apply(torch.cat((*[empty] * before, rows, *[empty] * behind)))
    return placed
