"""Which environment, and how it looks."""

from typing import Annotated, Literal

from pydantic import Field

from jepa.config.section import Positive, Section


class ImageEnv(Section):
    """Base of all environments: they show images, and never the goal in them."""

    size: Annotated[int, Field(ge=16)] = 64
    """Height and width of the images, in pixels."""


class TwoRoomEnv(ImageEnv):
    """A disc in two rooms joined by a door (PLDM, arXiv:2502.14819)."""

    kind: Literal["two-room"]
    layout: Literal["standard", "shifted"] = "standard"
    """standard: wall in the middle, door as in training. shifted: wall and door are drawn anew for each episode."""


class PushTEnv(ImageEnv):
    """Push a T-shaped block with a disc (Diffusion Policy, arXiv:2303.04137; needs pymunk)."""

    kind: Literal["pusht"]
    draw_goal: bool = False
    """Draw the goal pose into the image."""


class PointMazeEnv(ImageEnv):
    """A ball in a maze (gymnasium-robotics)."""

    kind: Literal["pointmaze"]
    maze: Literal["umaze", "medium", "large"] = "umaze"
    """Which maze."""


class ReacherEnv(ImageEnv):
    """A two-link arm (dm_control's reacher)."""

    kind: Literal["reacher"]


class MetaWorldEnv(ImageEnv):
    """A robot arm at a table (Meta-World)."""

    kind: Literal["metaworld"]
    task: str = "reach-v3"
    """Name of the task."""
    camera: str = "corner2"
    """Which camera: one of the package, or corner2-close, which shows the table larger."""


class GymEnv(ImageEnv):
    """Any environment that is registered with gymnasium; its `render()` gives the images, or its observation.

    One whose state cannot be set can be recorded, but has no goals to plan for.
    """

    kind: Literal["gymnasium"]
    name: str
    """Its id, such as Pendulum-v1; after the module that registers it, if not gymnasium: ale_py:ALE/Pong-v5."""


EnvConfig = Annotated[
    TwoRoomEnv | PushTEnv | PointMazeEnv | ReacherEnv | MetaWorldEnv | GymEnv, Field(discriminator="kind")
]


class CollectConfig(Section):
    """Episodes to record."""

    env: EnvConfig
    path: str
    """Folder of the episodes; those that are there already stay."""
    episodes: Positive
    """How many."""
    steps: Positive | None = None
    """Length of an episode; by default the environment's limit."""
    policy: Literal["random", "expert"] = "random"
    """Who acts."""
    seed: int = 0
    """Episode k is a function of this and k."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Processes that record; 0 records in the main process."""
