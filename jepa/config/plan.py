"""How a planner is evaluated: which goals, how many episodes, beside which baselines."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jepa.config.envs import EnvConfig
from jepa.config.planning import PlannerConfig, SearchConfig
from jepa.config.section import Positive, Section
from jepa.config.trajectories import TrajectoryData, TrajectorySource


class DrawnGoals(Section):
    """Starts and goals that the environment draws, from seeds that no training episode used."""

    kind: Literal["drawn"]
    steps: Positive = 100
    """Environment steps an agent has."""


class DatasetGoals(Section):
    """Goals seen later in recorded episodes, as stable-worldmodel takes them (50 episodes, 25 ahead, budget 50)."""

    kind: Literal["dataset"]
    source: TrajectorySource
    """Episodes with simulator states; those that the world model was trained on are left out."""
    ahead: Positive = 25
    """Environment steps between start and goal."""
    steps: Positive = 50
    """Environment steps an agent has."""


class RecordedGoals(Section):
    """No environment: are the actions found that a recording took from a frame to a later one?

    ``episodes`` pairs in all, drawn from the first of ``seeds``. The rows beside the planners are a random action and
    the mean one; settings of environments have no effect.
    """

    kind: Literal["recorded"]
    ahead: Positive = 1
    """Model steps between start and goal; the planners' horizon is set to it."""
    data: TrajectoryData | None = None
    """Episodes, of which all are used; null: those that the world model's own training kept for tests. Published
    weights have none. `resolution` and `proprio` are the world model's, whatever they say here."""
    actions: Literal["recorded", "poses"] = "recorded"
    """What is to be found. poses: not the recorded actions, but the changes of the proprioception, a pose of seven
    numbers, from one model step to the next (V-JEPA 2-AC's actions, on DROID)."""


Goals = Annotated[DrawnGoals | DatasetGoals | RecordedGoals, Field(discriminator="kind")]
Baseline = Literal["random", "behaviour cloning", "simulator"]
RECORDED_BASELINES = ("random action", "mean action")
"""The rows beside the planners where goals are recorded ones."""


class PlanConfig(Section):
    """An evaluation of planning with a world model."""

    run_dir: str
    """Where the success table, summary.json, videos and report.html go."""
    model: str
    """A world model's run directory or checkpoint, or published weights: vjepa2-ac:FILE."""
    env: EnvConfig | None = None
    """Where to act; null where goals are recorded ones."""
    goals: Goals = DrawnGoals(kind="drawn")
    planners: Annotated[tuple[PlannerConfig, ...], Field(min_length=1)]
    """Who plans with the world model; a row each."""
    simulator: SearchConfig | None = None
    """How the true simulator plans, in environment steps; by default as the first planner, over the same time."""
    baselines: tuple[Baseline, ...] = ("random", "behaviour cloning", "simulator")
    """Rows beside the planners. behaviour cloning: goal-conditioned, on the world model's own training episodes."""
    cloning_steps: Positive = 5000
    """Optimizer steps of behaviour cloning."""
    episodes: Positive = 200
    """Per seed."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Each seed draws other starts, goals and candidates."""
    parallel: Positive = 50
    """Episodes that are planned at once; of pairs of recorded frames at most 16 are."""
    videos: Annotated[int, Field(ge=0)] = 6
    """Episodes per planner that are kept as videos."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: cuda, else mps, else cpu."""
    threads: Positive | None = None
    """Threads of torch on the CPU; by default torch decides."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        others = RECORDED_BASELINES if isinstance(self.goals, RecordedGoals) else self.baselines
        names = [*(planner.name for planner in self.planners), *others]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rows are called {twice[0]!r}; give planners names of their own")
        return self

    @model_validator(mode="after")
    def _has_somewhere_to_act(self) -> Self:
        if (self.env is None) != isinstance(self.goals, RecordedGoals):
            raise ValueError("give an env, or goals of kind recorded, which need none")
        return self
