"""How a planner is evaluated: which goals, how many episodes, beside which baselines."""

from typing import Annotated, Literal

from pydantic import Field

from jepa.config.envs import EnvConfig
from jepa.config.planning import PlannerConfig
from jepa.config.section import Positive, Section
from jepa.config.trajectories import TrajectorySource


class DrawnGoals(Section):
    """Starts and goals that the environment draws, from seeds that no training episode used."""

    kind: Literal["drawn"]
    steps: Positive = 100
    """Environment steps an agent has."""


class DatasetGoals(Section):
    """Goals seen later in recorded episodes, as stable-worldmodel takes them (50 episodes, 25 ahead, budget 50)."""

    kind: Literal["dataset"]
    source: TrajectorySource
    """Episodes with simulator states that the world model was not trained on."""
    ahead: Positive = 25
    """Environment steps between start and goal."""
    steps: Positive = 50
    """Environment steps an agent has."""


Goals = Annotated[DrawnGoals | DatasetGoals, Field(discriminator="kind")]
Baseline = Literal["random", "behaviour cloning", "simulator"]


class PlanConfig(Section):
    """An evaluation of planning with a world model."""

    run_dir: str
    """Where the success table, summary.json, videos and report.html go."""
    model: str
    """A world model's run directory or checkpoint."""
    env: EnvConfig
    goals: Goals = DrawnGoals(kind="drawn")
    planners: Annotated[dict[str, PlannerConfig], Field(min_length=1)]
    """Planners by the names of their rows."""
    simulator: PlannerConfig | None = None
    """How the true simulator plans, whose cost is its own distance to the goal; by default as the first planner."""
    baselines: tuple[Baseline, ...] = ("random", "behaviour cloning", "simulator")
    """Rows beside the planners. behaviour cloning: goal-conditioned, on the world model's own training episodes."""
    episodes: Positive = 200
    """Per seed."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Each seed draws other starts, goals and candidates."""
    parallel: Positive = 50
    """Episodes that are planned at once."""
    videos: Annotated[int, Field(ge=0)] = 6
    """Episodes per planner that are kept as videos."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: cuda, else mps, else cpu."""
    threads: Positive | None = None
    """Threads of torch on the CPU; by default torch decides."""
