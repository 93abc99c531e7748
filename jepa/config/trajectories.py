"""Which episodes a world model learns from, and how windows are cut from them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jepa.config.section import Fraction, Positive, Section


class EpisodeSource(Section):
    """Base of all sources of episodes."""

    path: str
    """Folder or file."""
    episodes: Positive | None = None
    """Use the first so many episodes; by default all."""


class StoreSource(EpisodeSource):
    """Episodes that `jepa data collect` wrote: a folder with one npz file per episode."""

    kind: Literal["store"]


class Hdf5Source(EpisodeSource):
    """One HDF5 file of all episodes end to end, as stable-worldmodel publishes them (needs h5py)."""

    kind: Literal["hdf5"]
    frames: str = "pixels"
    """Name of the frames' array."""
    actions: str = "action"
    """Name of the actions' array."""
    proprio: str | None = None
    """Name of the proprioception's array."""


class LeRobotSource(EpisodeSource):
    """A LeRobot data set, v2.1 or v3 (parquet and mp4; needs pyarrow). Missing episodes are reported and skipped."""

    kind: Literal["lerobot"]
    camera: str | None = None
    """Key of the video, such as observation.images.top; by default the only one."""
    actions: str = "action"
    """Column of the actions."""
    proprio: str | tuple[str, ...] | None = "observation.state"
    """Column of the proprioception, or several that are put side by side; null for none."""

    @property
    def proprio_columns(self) -> tuple[str, ...]:
        """The columns of the proprioception."""
        return (self.proprio,) if isinstance(self.proprio, str) else self.proprio or ()


class DemonstrationSource(EpisodeSource):
    """Episodes as npz files of `observation` (stacked frames, newest last) and `action` (action[t] made frame t)."""

    kind: Literal["demonstrations"]
    rate: Annotated[float, Field(gt=0)] | None = None
    """Steps per second, where it is known."""


class FrameTableSource(EpisodeSource):
    """A CSV with one row per video frame: the video's name, the frame's number, and columns of actions."""

    kind: Literal["frames"]
    videos: str = "videos"
    """Folder of the videos, from the CSV's own."""
    video: str = "run"
    """Column of the video's name, with or without its suffix."""
    frame: str = "frame"
    """Column of the frame's number."""
    actions: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns of the actions: those of row t lead from frame t to frame t + 1."""
    proprio: tuple[str, ...] = ()
    """Columns of the proprioception."""


TrajectorySource = Annotated[
    StoreSource | Hdf5Source | LeRobotSource | DemonstrationSource | FrameTableSource,
    Field(discriminator="kind"),
]


class TrajectoryData(Section):
    """Episodes, and the windows that are cut from them."""

    sources: Annotated[tuple[TrajectorySource, ...], Field(min_length=1)]
    """Sources of one action size; episodes are drawn by their length."""
    resolution: Positive | tuple[Positive, Positive] = 64
    """Pixels of a frame: one number for a square, or [height, width]."""
    frame_skip: Positive = 1
    """Environment steps per model step; their actions, side by side, are the model step's action (LeWM, DINO-WM: 5)."""
    window: Annotated[int, Field(ge=2)] = 4
    """Frames of a training window, in model steps: `window` - 1 actions lie between them."""
    proprio: bool = False
    """Give the model proprioception, which every source must then have."""
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of each source's episodes that is kept from training, for prediction errors and held-out goals."""
    batch_size: Positive = 128
    """Windows per step."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Decoding processes; 0 decodes in the main process."""
    cache_mb: Annotated[int, Field(ge=0)] = 4000
    """Frames, resized, are kept in memory up to this size, in the main process, which then needs no workers.

    So are the latents of a frozen encoder, 4 bytes a number, in place of the frames: each is then encoded once.
    """
    decoder: Literal["auto", "pyav", "torchcodec"] = "auto"
    """auto: torchcodec when it imports and works, else PyAV."""
    decode_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """A file whose decoding takes longer counts as bad."""
    max_bad_fraction: Fraction = 0.01
    """The program stops when more than this fraction of the episodes turned out bad."""
    worker_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """A decoding process that gives no sign of life for so long beyond `decode_timeout_s` is replaced."""
    worker_memory_mb: Positive | None = None
    """A decoding process whose own memory grows by more than this is replaced (Linux); null never asks."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        named = [(source.kind, source.path) for source in self.sources]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"source {twice[0][1]!r} is named twice")
        return self
