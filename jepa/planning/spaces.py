"""Where actions are searched for: bounded boxes and discrete choices, in units that all solvers share.

A space holds the actions of one model step: ``repeat`` environment actions side by side, A numbers in all. Solvers
search in units: fractions of half the range from its middle, in [-1, 1], or one-hot vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces as gym_spaces
from torch import Tensor

from jepa.errors import ConfigError, DataError
from jepa.planning.proposals import Categorical, Gaussian, categorical, gaussian


@dataclass(frozen=True, slots=True, eq=False)
class BoxSpace:
    """Actions between two finite bounds."""

    low: Tensor  # (a,)
    high: Tensor  # (a,)
    repeat: int = 1

    def __post_init__(self) -> None:
        """Check the bounds."""
        if self.low.ndim != 1 or self.low.shape != self.high.shape or not len(self.low):
            raise ConfigError(
                f"bounds of shapes {tuple(self.low.shape)} and {tuple(self.high.shape)} -- both must be (A,) "
                "-- take single_action_space of a vector environment"
            )
        for index, (low, high) in enumerate(zip(self.low.tolist(), self.high.tolist(), strict=True)):
            if not -float("inf") < low <= high < float("inf"):
                raise ConfigError(
                    f"action {index} lies between {low:g} and {high:g} -- planning needs finite bounds, the lower "
                    "first -- wrap the environment in gymnasium.wrappers.RescaleAction"
                )

    @property
    def size(self) -> int:
        """Numbers of one model step's action, A."""
        return len(self.low) * self.repeat

    @property
    def device(self) -> torch.device:
        """Where candidates are made."""
        return self.low.device

    def to(self, device: torch.device) -> Self:
        """Return the same space on ``device``."""
        return replace(self, low=self.low.to(device), high=self.high.to(device))

    def tile(self, repeat: int) -> Self:
        """Return the space of ``repeat`` such actions side by side."""
        return replace(self, repeat=self.repeat * repeat)

    def actions(self, units: Tensor) -> Tensor:
        """Turn units (..., A) in [-1, 1] into actions (..., A) between the bounds."""
        low, high = self._bounds()
        # lerp starts from the nearer bound, so that rounding cannot carry an action past one.
        return torch.lerp(low, high, (units + 1) / 2)

    def units(self, actions: Tensor) -> Tensor:
        """Turn actions (..., A) into units; what lies past a bound is on it."""
        low, high = self._bounds()
        half = ((high - low) / 2).clamp(min=torch.finfo(low.dtype).tiny)
        return ((actions - (low + high) / 2) / half).clamp(-1, 1)

    def each(self, name: str, values: float | tuple[float, ...]) -> Tensor:
        """Return a setting of every number of a model step's action, (A,), from one for all or one for each.

        Each means each number of an environment step's action. Raises ConfigError, with the setting's ``name``, for
        another count.
        """
        several = (values,) * len(self.low) if isinstance(values, int | float) else values
        if len(several) != len(self.low):
            raise ConfigError(
                f"{name} has {len(several)} values for actions of {len(self.low)} numbers -- give one for all, or "
                "one for each number"
            )
        return self.low.new_tensor(several).repeat(self.repeat)

    def check(self, actions: Tensor) -> None:
        """Raise DataError for actions (..., A) past the bounds by more than rounding, or not finite."""
        low, high = self._bounds()
        slack = 1e-5 * (high - low)
        outside = ~((actions >= low - slack) & (actions <= high + slack))
        if bool(outside.any()):
            where = tuple(outside.nonzero()[0].tolist())
            raise DataError(
                f"action {where[-1] % len(self.low)} is {float(actions[where]):g} -- it must lie between "
                f"{float(low[where[-1]]):g} and {float(high[where[-1]]):g} -- clip actions to the environment's bounds"
            )

    def neutral(self) -> Tensor:
        """Return the middle of the range: zeros, (A,)."""
        return self.low.new_zeros(self.size)

    def uniform(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise (..., A) into units that are uniform in [-1, 1]."""
        return torch.special.ndtr(noise) * 2 - 1

    def proposal(
        self, start: Tensor | None, shape: tuple[int, int], *, stds: tuple[float, float]
    ) -> Gaussian:
        """Return a solver's first distribution, normal around ``start``, (B, 1, H, A), or around the middle.

        ``shape`` is (B, H), ``stds`` are the deviations of the first round and the smallest.
        """
        batch, horizon = shape
        mean = self.neutral().expand(batch, 1, horizon, -1) if start is None else start
        return gaussian(mean, initial_std=stds[0], min_std=stds[1])

    def _bounds(self) -> tuple[Tensor, Tensor]:
        return self.low.repeat(self.repeat), self.high.repeat(self.repeat)  # (A,), (A,)


@dataclass(frozen=True, slots=True, eq=False)
class DiscreteSpace:
    """One of n actions, as a one-hot vector."""

    n: int
    repeat: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        """Check the number of actions."""
        if self.n < 2:
            raise ConfigError(f"{self.n} discrete actions -- planning needs a choice of 2 or more")

    @property
    def size(self) -> int:
        """Numbers of one model step's action: ``n`` for each environment step."""
        return self.n * self.repeat

    def to(self, device: torch.device) -> Self:
        """Return the same space on ``device``."""
        return replace(self, device=device)

    def tile(self, repeat: int) -> Self:
        """Return the space of ``repeat`` such choices side by side."""
        return replace(self, repeat=self.repeat * repeat)

    def actions(self, units: Tensor) -> Tensor:
        """Return the one-hot vectors, (..., A), as they are."""
        return units

    def units(self, actions: Tensor) -> Tensor:
        """Return the one-hot vectors, (..., A), as they are."""
        return actions

    def check(self, actions: Tensor) -> None:
        """Raise DataError for anything but one-hot vectors, (..., A)."""
        each = actions.reshape(*actions.shape[:-1], self.repeat, self.n)
        if not bool((((each == 0) | (each == 1)).all(-1) & (each.sum(-1) == 1)).all()):
            raise DataError(
                f"discrete actions are not one-hot -- each must be {self.n} numbers, one of them 1 and the others 0 -- "
                "use torch.nn.functional.one_hot"
            )

    def neutral(self) -> Tensor:
        """Return the first action, (A,)."""
        return self._one_hot(torch.zeros(self.repeat, dtype=torch.long, device=self.device))

    def uniform(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise (..., A) into one-hot vectors, each action being as likely."""
        return self._one_hot(noise.reshape(*noise.shape[:-1], self.repeat, self.n).argmax(dim=-1))

    def _one_hot(self, choices: Tensor) -> Tensor:
        """Write choices (..., R) as vectors side by side, (..., R * n)."""
        return F.one_hot(choices, self.n).flatten(-2).float()

    def proposal(
        self, start: Tensor | None, shape: tuple[int, int], *, stds: tuple[float, float]
    ) -> Categorical:
        """Return ``start``, (B, 1, H, A), by 1 - ``stds[0]`` and any action by the rest; without it, any action."""
        batch, horizon = shape
        first = self.neutral().expand(batch, 1, horizon, -1) if start is None else start
        spread = 1.0 if start is None else stds[0]
        one_hot = first.reshape(batch, 1, horizon, self.repeat, self.n)  # (B, 1, H, R, n)
        return categorical(one_hot, initial_std=spread, min_std=stds[1])


Space = BoxSpace | DiscreteSpace


def bounded(space: Space, bounds: Sequence[tuple[float, float]] | None) -> Space:
    """Return ``space`` with other bounds, the lowest and highest value of each number; None changes nothing.

    Equal ones hold a number still. Raises ConfigError for discrete actions and for another count.
    """
    if bounds is None:
        return space
    if isinstance(space, DiscreteSpace):
        raise ConfigError("bounds are for continuous actions, these are discrete -- leave them out")
    if len(bounds) != len(space.low):
        raise ConfigError(
            f"bounds has {len(bounds)} pairs for actions of {len(space.low)} numbers -- give one for each number"
        )
    low, high = space.low.new_tensor(list(bounds)).unbind(dim=1)
    return replace(space, low=low, high=high)


def within(space: Space, bounds: Sequence[tuple[float, float]] | None) -> Space:
    """Return the part of ``space`` between ``bounds``, as `bounded` does.

    Raises ConfigError for bounds that are not inside the space's, too.
    """
    part = bounded(space, bounds)
    if bounds is None or isinstance(space, DiscreteSpace) or isinstance(part, DiscreteSpace):
        return part
    slack = 1e-6 * (
        space.high - space.low
    )  # the environment's bounds may be rounded otherwise than a config's
    outside = (part.low < space.low - slack) | (part.high > space.high + slack)
    if bool(outside.any()):
        index = int(outside.nonzero()[0])
        raise ConfigError(
            f"bounds: {float(part.low[index]):g} to {float(part.high[index]):g} for action {index} -- the "
            f"environment's lies between {float(space.low[index]):g} and {float(space.high[index]):g} -- give bounds "
            "inside of that"
        )
    return replace(part, low=torch.maximum(part.low, space.low), high=torch.minimum(part.high, space.high))


def as_space(space: gym_spaces.Space[Any] | Space) -> Space:
    """Return a gymnasium space as one that solvers search: Box with finite bounds, or Discrete.

    Raises ConfigError for any other.
    """
    if isinstance(space, BoxSpace | DiscreteSpace):
        return space
    if isinstance(space, gym_spaces.Discrete) and space.start == 0:
        return DiscreteSpace(int(space.n))
    if isinstance(space, gym_spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        # A bound of more digits must not be passed by rounding it.
        low = np.where(low < space.low, np.nextafter(low, np.float32(np.inf)), low)
        high = np.where(high > space.high, np.nextafter(high, np.float32(-np.inf)), high)
        return BoxSpace(torch.from_numpy(low), torch.from_numpy(high))
    raise ConfigError(
        f"action space {space} -- planning searches Box of floats and Discrete from 0 -- wrap the environment "
        "so that it has one of them (take single_action_space of a vector environment)"
    )
