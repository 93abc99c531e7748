"""What sampling solvers refine: a distribution over action sequences, drawn from and fitted to the better ones."""

import math
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor


class Proposal(Protocol):
    """A distribution over sequences of actions, in the units of a space (see `jepa.planning.spaces`)."""

    def draw(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise (B, S, H, A) into candidates (B, S, H, A)."""
        ...

    def centre(self) -> Tensor:
        """Return the most likely sequence, (B, 1, H, A)."""
        ...

    def fit(self, candidates: Tensor, weights: Tensor, *, momentum: float = 0.0) -> Self:
        """Fit to candidates (B, K, H, A) with weights (B, K) that sum to 1; ``momentum`` is the share kept."""
        ...


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Independent normal distributions, cut at -1 and 1: what falls outside lies on the bound.

    Clipping, not truncated sampling, so that extreme actions stay likely (iCEM, arXiv:2008.06389, section 3.1).
    """

    mean: Tensor  # (B, 1, H, A)
    std: Tensor  # (B, 1, H, A)
    min_std: float

    def draw(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise (B, S, H, A) into candidates (B, S, H, A) in [-1, 1]."""
        return torch.addcmul(self.mean, self.std, noise).clamp_(-1, 1)

    def centre(self) -> Tensor:
        """Return the mean, (B, 1, H, A)."""
        return self.mean

    def fit(self, candidates: Tensor, weights: Tensor, *, momentum: float = 0.0) -> Self:
        """Take mean and deviation of the weighted candidates; the deviation stays above its minimum."""
        share = weights[..., None, None]  # (B, K, 1, 1)
        mean = (share * candidates).sum(dim=1, keepdim=True)
        std = (share * (candidates - mean).square()).sum(dim=1, keepdim=True).sqrt()
        mean, std = mean.lerp(self.mean, momentum), std.lerp(self.std, momentum)
        return replace(self, mean=mean, std=std.clamp(min=self.min_std))


@dataclass(frozen=True, slots=True)
class Categorical:
    """Independent choices among n actions; a candidate holds them as one-hot vectors, side by side."""

    probabilities: Tensor  # (B, 1, H, R, n)
    min_std: float
    """Share of each distribution that stays uniform."""

    def draw(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise (B, S, H, R * n) into one-hot candidates: the Gumbel-max trick."""
        uniform = torch.special.ndtr(noise).clamp(1e-7, 1 - 1e-7)
        gumbel = -(-uniform.log()).log()
        return self._one_hot(self._choices(gumbel) + self.probabilities.log())

    def centre(self) -> Tensor:
        """Return the likeliest actions, (B, 1, H, R * n) one-hot."""
        return self._one_hot(self.probabilities)

    def fit(self, candidates: Tensor, weights: Tensor, *, momentum: float = 0.0) -> Self:
        """Take the weighted frequency of each action."""
        frequency = (weights[..., None, None] * candidates).sum(dim=1, keepdim=True)  # (B, 1, H, R * n)
        frequency = self._choices(frequency).lerp(self.probabilities, momentum)
        return replace(self, probabilities=_with_uniform(frequency, self.min_std))

    def _choices(self, side_by_side: Tensor) -> Tensor:
        """Set the choices apart: (..., R * n) -> (..., R, n)."""
        return side_by_side.reshape(*side_by_side.shape[:-1], *self.probabilities.shape[-2:])

    def _one_hot(self, scores: Tensor) -> Tensor:
        """Mark the largest of the last axis: (..., R, n) -> (..., R * n)."""
        return F.one_hot(scores.argmax(dim=-1), scores.shape[-1]).flatten(-2).float()


def gaussian(start: Tensor, *, initial_std: float, min_std: float) -> Gaussian:
    """Return the first round's distribution around ``start``, (B, 1, H, A) in [-1, 1]."""
    return Gaussian(start, torch.full_like(start, max(initial_std, min_std)), min_std)


def categorical(start: Tensor, *, initial_std: float, min_std: float) -> Categorical:
    """Return the first round's distribution: ``start``, (B, 1, H, R, n) one-hot, or any action by ``initial_std``."""
    return Categorical(_with_uniform(start, min(1.0, max(initial_std, min_std))), min_std)


def _with_uniform(probabilities: Tensor, share: float) -> Tensor:
    """Give ``share`` of the probability to all actions alike; none is ever impossible."""
    count = probabilities.shape[-1]
    return torch.lerp(
        probabilities, torch.full_like(probabilities, 1 / count), max(share, math.sqrt(torch.finfo().eps))
    )
