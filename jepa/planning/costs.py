"""What a plan is to reach, as costs of imagined futures; they compose by ``+`` and ``number *``."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from jepa.errors import ConfigError, DataError
from jepa.planning.spaces import BoxSpace, Space

Steps = Literal["last", "all"]


@dataclass(frozen=True, slots=True, eq=False)
class Imagined:
    """What a cost sees of S candidates: their futures in the latent space, and nothing of any simulator."""

    z: Tensor  # (B, S, H, N, D)
    actions: Tensor  # (B, S, H, A), in the units of the environment
    start: Tensor  # (B, N, D): the frame the plan starts from
    goal: Tensor  # (B, N, D)


class Cost(ABC):
    """Base of all costs; lower is better."""

    @abstractmethod
    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the costs (B, S)."""

    def __add__(self, other: "Cost") -> "Cost":
        """Add two costs."""
        return Sum(self, other)

    def __mul__(self, weight: float) -> "Cost":
        """Weight a cost."""
        return Weighted(self, weight)

    __rmul__ = __mul__


@dataclass(frozen=True, slots=True)
class Sum(Cost):
    """Two costs added."""

    first: Cost
    second: Cost

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the costs (B, S)."""
        return self.first(imagined) + self.second(imagined)


@dataclass(frozen=True, slots=True)
class Weighted(Cost):
    """A cost times a number."""

    cost: Cost
    weight: float

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the costs (B, S)."""
        return self.weight * self.cost(imagined)


@dataclass(frozen=True, slots=True)
class GoalDistance(Cost):
    """Distance between imagined frames and the goal.

    l1 and l2 are means over tokens and channels of the absolute and the squared difference (V-JEPA 2-AC: l1 of the
    last frame; DINO-WM: l2 of the last frame); cosine is 1 less the similarity, a mean over tokens. Raises
    DataError for a goal of another size than the imagined frames.
    """

    distance: Literal["l1", "l2", "cosine"] = "l2"
    pool: bool = False
    """Compare the means over tokens."""
    steps: Steps = "last"
    """The last imagined frame, or the mean over all of them."""

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the costs (B, S)."""
        z, goal = (
            of_steps(imagined.z, self.steps),
            imagined.goal[:, None, None],
        )  # (B, S, h, N, D), (B, 1, 1, N, D)
        if self.pool:
            z, goal = z.mean(dim=-2, keepdim=True), goal.mean(dim=-2, keepdim=True)
        check_goal(z, goal)
        if self.distance == "cosine":
            return (1 - F.cosine_similarity(z, goal, dim=-1)).mean(dim=(-2, -1))
        difference = z - goal
        size = difference.abs() if self.distance == "l1" else difference.square()
        return size.mean(dim=(-3, -2, -1))


@dataclass(frozen=True, slots=True)
class ActionPenalty(Cost):
    """Mean squared action, as fractions of half the range from its middle. Raises ConfigError for discrete actions."""

    space: Space

    def __post_init__(self) -> None:
        """Check the space."""
        if not isinstance(self.space, BoxSpace):
            raise ConfigError(
                "an action penalty needs continuous actions, these are discrete -- leave it out"
            )

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the costs (B, S)."""
        return self.space.to(imagined.actions.device).units(imagined.actions).square().mean(dim=(-2, -1))


@dataclass(frozen=True, slots=True)
class StateConstraint(Cost):
    """How far ``function`` of the imagined frames is above ``limit``, a mean over the steps; below it, nothing.

    ``function`` maps (B, S, H, N, D) to (B, S, H), such as a linear probe's reading of a position. Raises
    ConfigError where it returns another shape.
    """

    function: Callable[[Tensor], Tensor]
    limit: float

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the costs (B, S)."""
        return F.relu(per_step(self.function(imagined.z), imagined.z) - self.limit).mean(dim=-1)


@dataclass(frozen=True, slots=True)
class LearnedValue(Cost):
    """A module's reading of how far imagined frames are from the goal, such as the learned number of steps.

    ``module`` maps frames (B, S, H, N, D) and goals (B, 1, 1, N, D) to (B, S, H). Raises DataError for a goal of
    another size than the imagined frames, ConfigError where the module returns another shape.
    """

    module: Callable[[Tensor, Tensor], Tensor]
    steps: Steps = "last"
    """The last imagined frame, or the mean over all of them."""

    def __call__(self, imagined: Imagined) -> Tensor:
        """Return the costs (B, S)."""
        z, goal = of_steps(imagined.z, self.steps), imagined.goal[:, None, None]
        check_goal(z, goal)
        return per_step(self.module(z, goal), z).mean(dim=-1)


def of_steps(z: Tensor, steps: Steps) -> Tensor:
    """Return the frames (B, S, h, N, D) that count: the last one, or all."""
    return z[:, :, -1:] if steps == "last" else z


def check_goal(z: Tensor, goal: Tensor) -> None:
    """Raise DataError where a goal (B, 1, 1, N, D) would be broadcast over other tokens than it has."""
    if z.shape[0] != goal.shape[0] or z.shape[-2:] != goal.shape[-2:]:
        raise DataError(
            f"{goal.shape[0]} goals of {goal.shape[-2]} tokens of width {goal.shape[-1]}, but {z.shape[0]} imagined "
            f"futures of {z.shape[-2]} of width {z.shape[-1]} -- they must agree -- encode the goal with the world "
            "model that imagines"
        )


def per_step(values: Tensor, z: Tensor) -> Tensor:
    """Return values (B, S, H) as they are. Raises ConfigError for another shape."""
    if values.shape != z.shape[:3]:
        raise ConfigError(
            f"a cost's function returned {tuple(values.shape)} -- it must return one number per imagined frame, "
            f"(B, S, H) = {tuple(z.shape[:3])}"
        )
    return values
