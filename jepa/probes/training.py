"""Train a grid of heads in one pass: every minibatch is read once and answered by all of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jepa.probes.adamw import StackedAdamW
from jepa.probes.rows import Rows, take_rows
from jepa.probes.targets import Targets
from jepa.runtime.device import autocast
from jepa.runtime.schedules import cosine
from jepa.runtime.seeding import generator

BYTES_AT_ONCE = 2**30  # of activations kept for the gradient; more heads or samples than that take turns
WARMUP_SHARE = 0.1  # of the steps

Weights = dict[str, Tensor]


class Network(Protocol):
    """The arithmetic of one kind of head, for G heads with weights (G, ...) at once."""

    def start(self, draw: torch.Generator) -> Weights:
        """Return the initial weights of one head."""
        ...

    def share(self, rows: Tensor) -> Tensor:
        """Do what no weight takes part in, once for all heads: (B, ...) -> (B, ...)."""
        ...

    def outputs(self, weights: Mapping[str, Tensor], shared: Tensor) -> Tensor:
        """Answer: G heads, B samples -> (G, B, C)."""
        ...

    def floats(self, samples: int) -> int:
        """Return about how many numbers one head keeps for its gradient."""
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the grid."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """How all heads are trained."""

    epochs: int
    batch_size: int
    seed: int
    dtype: str
    device: torch.device


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Some rows of features with what is wanted of them."""

    features: Rows
    target: Tensor  # of all rows
    index: Tensor  # (n,) long, ascending: the rows that take part

    def __len__(self) -> int:
        """Return how many rows take part."""
        return len(self.index)

    def batch(self, numbers: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Read samples by number in [0, n): float32 rows, and their targets."""
        index = self.index[numbers]
        return take_rows(self.features, index, device), self.target[index].to(device)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Heads after training; lists have one entry per head."""

    weights: Weights  # (G, ...)
    history: list[
        dict[str, list[float]]
    ]  # per epoch: training loss, and validation score and loss if there is one


class _Team:
    """Heads that are updated together."""

    def __init__(self, start: Weights, points: Sequence[Point], device: torch.device) -> None:
        """Give every head the same start."""
        self.weights = {
            name: one.to(device).expand(len(points), *one.shape).clone().requires_grad_()
            for name, one in start.items()
        }
        self.optimizer = StackedAdamW(
            list(self.weights.values()),
            learning_rates=torch.tensor([point.learning_rate for point in points]),
            weight_decays=torch.tensor([point.weight_decay for point in points]),
        )
        self.loss = torch.zeros(len(points), device=device)  # summed over the samples of an epoch


def train(
    network: Network,
    targets: Targets,
    points: Sequence[Point],
    *,
    fitted: Samples,
    held_out: Samples | None,
    recipe: Recipe,
) -> Trained:
    """Train one head per point with AdamW from equal weights on equal batches; heads share nothing else.

    The learning rate of each rises linearly over the first tenth of the steps to its point's and falls to 0 on a
    cosine. A head that diverges becomes NaN and leaves the others alone.
    """
    steps_per_epoch = math.ceil(len(fitted) / recipe.batch_size)
    steps = recipe.epochs * steps_per_epoch
    together = max(1, BYTES_AT_ONCE // (4 * network.floats(recipe.batch_size)))
    start = network.start(generator(recipe.seed, "head"))
    teams = [
        _Team(start, points[first : first + together], recipe.device)
        for first in range(0, len(points), together)
    ]
    history, step = [], 0
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(fitted), generator=generator(recipe.seed, "head batches", epoch))
        for numbers in order.tensor_split(steps_per_epoch):
            rows, target = fitted.batch(numbers.sort().values, recipe.device)
            with autocast(recipe.device, recipe.dtype):
                shared = network.share(rows)
            for team in teams:
                _update(team, network, targets, shared=shared, target=target, recipe=recipe)
                team.optimizer.step(learning_rate_scale(step, steps))
            step += 1
        history.append(
            _account(teams, network, targets, samples=len(fitted), held_out=held_out, recipe=recipe)
        )
    weights = {name: torch.cat([team.weights[name].detach() for team in teams]) for name in start}
    return Trained(weights, history)


def learning_rate_scale(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at ``step``: up linearly to 1, then half a cosine towards 0."""
    warmup = max(1, round(WARMUP_SHARE * steps))
    if step < warmup:
        return (step + 1) / warmup
    return cosine(step - warmup + 1, start=1.0, end=0.0, steps=steps - warmup + 1)


def _update(
    team: _Team, network: Network, targets: Targets, *, shared: Tensor, target: Tensor, recipe: Recipe
) -> None:
    """Leave the gradient of each head's mean loss in its weights, a part of the batch at a time if it is large."""
    parts = math.ceil(4 * network.floats(len(shared)) / BYTES_AT_ONCE)
    for some, wanted in zip(shared.tensor_split(parts), target.tensor_split(parts), strict=True):
        with autocast(recipe.device, recipe.dtype):
            outputs = network.outputs(team.weights, some)  # (G, B, C)
        losses = targets.losses(outputs, wanted) * len(some)  # (G,)
        torch.autograd.backward(losses.sum() / len(shared))
        team.loss += losses.detach()


def _account(
    teams: Sequence[_Team],
    network: Network,
    targets: Targets,
    *,
    samples: int,
    held_out: Samples | None,
    recipe: Recipe,
) -> dict[str, list[float]]:
    """Return what an epoch brought each head, and count its loss from zero again."""
    found = {"training loss": [loss for team in teams for loss in (team.loss / samples).tolist()]}
    for team in teams:
        team.loss.zero_()
    if held_out is None:
        return found
    scores: list[float] = []
    losses: list[float] = []
    for team in teams:
        outputs = torch.cat(list(answer(network, team.weights, held_out, recipe)), dim=1)  # (G, n, C)
        target = held_out.target[held_out.index]
        scores += targets.grades(outputs, target)
        losses += targets.losses(outputs, target).tolist()
    return found | {"score": scores, "loss": losses}


@torch.no_grad()
def answer(
    network: Network, weights: Mapping[str, Tensor], samples: Samples, recipe: Recipe
) -> Iterator[Tensor]:
    """Yield the outputs of G heads for all samples in order, a batch at a time: (G, B, C) float32 on the CPU."""
    for first in range(0, len(samples), recipe.batch_size):
        index = samples.index[first : first + recipe.batch_size]
        rows = take_rows(samples.features, index, recipe.device)
        with autocast(recipe.device, recipe.dtype):
            yield network.outputs(weights, network.share(rows)).float().cpu()
