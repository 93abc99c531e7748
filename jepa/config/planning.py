"""How actions are searched for, and what they are to reach."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jepa.config.section import Fraction, Positive, Range, Section


class SamplingSolver(Section):
    """Base of the solvers that draw candidates."""

    samples: Positive = 300
    """Candidates per iteration."""


class RandomShooting(SamplingSolver):
    """Draw uniformly, keep the best."""

    kind: Literal["random"]


class IterativeSolver(SamplingSolver):
    """Base of the solvers that refine a distribution."""

    iterations: Positive = 10
    """Rounds of drawing and fitting."""
    initial_std: Annotated[float, Field(gt=0)] = 0.5
    """Deviation of the first round, as a fraction of half the action's range."""
    min_std: Annotated[float, Field(ge=0)] = 0.05
    """Smallest deviation, likewise."""


class CemConfig(IterativeSolver):
    """Cross-entropy method."""

    kind: Literal["cem"]
    elites: Positive = 30
    """Best candidates that the next distribution is fitted to (LeWM: 30 of 300; V-JEPA 2-AC: 10 of 400)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the last mean and deviation that is kept (V-JEPA 2-AC: .15)."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """Stop where the best cost fell by less than this fraction in a round; 0 runs all rounds."""

    @model_validator(mode="after")
    def _elites_are_samples(self) -> Self:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} must not be more than samples {self.samples}")
        return self


NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class CemMeanConfig(SamplingSolver):
    """CEM that answers with its last mean and draws all candidates anew, as V-JEPA 2-AC plans (arXiv:2506.09985).

    A tuple has a value for each number of an environment step's action. Actions must be continuous.
    """

    kind: Literal["cem-mean"]
    samples: Positive = 800
    """Candidates per iteration (paper: 800; released code: 400)."""
    iterations: Positive = 10
    """Rounds of drawing and fitting."""
    elites: Annotated[int, Field(ge=2)] = 10
    """Best candidates that the next distribution is fitted to."""
    initial_std: NotNegative | tuple[NotNegative, ...] = 1.0
    """Deviation of the first round, as a fraction of half the action's range."""
    momentum: Share | tuple[Share, ...] = 0.15
    """Share of the last mean that is kept."""
    momentum_std: Share | tuple[Share, ...] = 0.15
    """Share of the last deviation that is kept."""
    dead_zone: NotNegative | tuple[NotNegative, ...] = 0.0
    """Numbers of the answer that are nearer to 0 than this become 0; in the units of the environment."""

    @model_validator(mode="after")
    def _elites_are_samples(self) -> Self:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} must not be more than samples {self.samples}")
        return self


class ICemConfig(CemConfig):
    """CEM with coloured noise, kept elites and fewer samples each round (arXiv:2008.06389)."""

    kind: Literal["icem"]  # type: ignore[assignment]  # it tells the two apart
    noise_beta: Annotated[float, Field(ge=0)] = 2.0
    """Exponent of the noise's spectrum over the horizon; 0 is white."""
    decay: Annotated[float, Field(ge=1)] = 1.25
    """The number of samples is divided by this each round."""
    keep: Fraction = 0.3
    """Share of the elites that compete again in the next round."""


class MppiConfig(IterativeSolver):
    """Model predictive path integral control: the mean moves to the cost-weighted candidates (arXiv:1509.01149)."""

    kind: Literal["mppi"]
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Of the weights exp(-cost / temperature), in deviations of the candidates' costs."""


class GradientConfig(Section):
    """Adam on the actions, from several starts."""

    kind: Literal["gradient"]
    restarts: Positive = 16
    """Starts; the last plan is one of them."""
    iterations: Positive = 50
    """Steps of Adam."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    """Adam's, as a fraction of half the action's range."""


class RefineConfig(Section):
    """CEM, and gradient steps from its best candidates."""

    kind: Literal["cem-gradient"]
    cem: CemConfig = CemConfig(kind="cem")
    gradient: GradientConfig = GradientConfig(kind="gradient")


SolverConfig = Annotated[
    RandomShooting | CemConfig | CemMeanConfig | ICemConfig | MppiConfig | GradientConfig | RefineConfig,
    Field(discriminator="kind"),
]


class CostTerm(Section):
    """Base of the terms of a cost, which are added."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """What the term is multiplied by."""


class GoalCost(CostTerm):
    """Distance between imagined frames and the goal, in the latent space."""

    kind: Literal["goal"]
    distance: Literal["l1", "l2", "cosine"] = "l2"
    """l1 and l2: mean over tokens and channels of the absolute or squared difference. cosine: one minus similarity."""
    pool: bool = False
    """Compare the means over tokens."""
    steps: Literal["last", "all"] = "last"
    """The last imagined frame, or the mean over all of them."""


class ValueCost(CostTerm):
    """Steps to the goal, by the world model's learned distance in time."""

    kind: Literal["value"]
    steps: Literal["last", "all"] = "last"
    """The last imagined frame, or the mean over all of them."""


class ActionCost(CostTerm):
    """Mean squared action, as fractions of half the range from its middle."""

    kind: Literal["action"]


CostConfig = Annotated[GoalCost | ValueCost | ActionCost, Field(discriminator="kind")]


class SearchConfig(Section):
    """A solver in a loop: plan, act, look, plan again."""

    solver: SolverConfig
    horizon: Positive
    """Model steps that are imagined."""
    replan_every: Positive = 1
    """Model steps that are executed before the next plan."""
    warm_start: bool = True
    """Start the next search from the rest of the last plan."""

    @model_validator(mode="after")
    def _executes_what_is_planned(self) -> Self:
        if self.replan_every > self.horizon:
            raise ValueError(f"replan_every {self.replan_every} must not be more than horizon {self.horizon}")
        return self


class PlannerConfig(SearchConfig):
    """A planner, and what it is to reach."""

    name: str
    """Name of its row in tables."""
    costs: Annotated[tuple[CostConfig, ...], Field(min_length=1)]
    """Terms of the cost; they are added."""
    bounds: tuple[Range, ...] | None = None
    """Lowest and highest value of each number of an environment step's action, inside the environment's; equal ones
    hold a number still. null: the environment's, or those of the recorded actions."""
    context: Positive | None = None
    """Frames that a plan starts from, the newest ones; null: as many as the world model attends to (V-JEPA 2-AC: 1).

    Plans between recorded frames always start from one."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        for low, high in self.bounds or ():
            if low > high:
                raise ValueError(f"bounds: {low:g} is above {high:g}; give the lower one first")
        return self
