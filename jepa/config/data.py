"""What is read, how clips are cut from it, and how they are fed."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from jepa.config.section import Fraction, Positive, Range, Section

RGB = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class FileSource(Section):
    """Videos or images on disk."""

    kind: Literal["folder", "csv", "images"]
    """folder: a tree of videos, `class/video.mp4` or flat. images: likewise for images, or a list of them.
    csv: a list of `path,label[,start,end]` or `path label` lines."""
    path: str
    """Folder or list file, relative to the working directory. Relative entries of a list start at the list's folder."""
    weight: float = Field(default=1.0, gt=0)
    """Share of this source among the sources of its kind of clip (video or image); weights need not sum to one."""
    split: str | None = None
    """Keep only the rows of a csv whose `split` column holds this value."""
    separator: str | None = None
    """What stands between the labels of one row, where it has several at once (multi-label)."""
    targets: tuple[str, ...] = ()
    """Columns of a csv that hold numbers to predict (regression)."""


class ShardSource(Section):
    """Videos or images in tar shards, as WebDataset has them: the files of a sample share their name up to its dot."""

    kind: Literal["shards"]
    path: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """A folder of shards, one .tar, a pattern (`data/*.tar`, `s3://bucket/shard-{000000..000127}.tar`), or a list of
    these. A sample's label is in its `.cls`, or under `label` in its `.json`."""
    modality: Literal["video", "image"] = "video"
    """What is read of each sample."""
    weight: float = Field(default=1.0, gt=0)
    """As for files."""
    split: str | None = None
    """Keep only the samples whose `.json` holds this value under `split`."""
    separator: str | None = None
    """What stands between the labels of one sample, where it has several at once (multi-label)."""
    targets: tuple[str, ...] = ()
    """Keys of a sample's `.json` that hold numbers to predict (regression)."""
    index_folder: str | None = None
    """Where the indexes of shards that come without one are kept; by default in the user's cache folder."""


class SyntheticSource(Section):
    """Videos that are generated on first use: textured shapes moving over textured backgrounds."""

    kind: Literal["synthetic"]
    path: str
    """Folder to write the mp4 files into; reused as it is when it already holds the same set."""
    videos: Positive = 2000
    """Number of videos."""
    frames: Annotated[int, Field(ge=2)] = 16
    """Frames per video."""
    size_px: Annotated[int, Field(ge=16)] = 64
    """Width and height of the videos."""
    seed: int = 0
    """Seed of the generator; two sets with different seeds share no video."""
    label: Literal["motion", "appearance", "next"] = "motion"
    """Which label the source carries, for k-NN and probes. next: in which ninth of the last frame the shape ends."""
    weight: float = Field(default=1.0, gt=0)
    """As for files."""


class PhysicsSource(Section):
    """Videos of a lawful world, generated on first use, to learn from what never happens (`jepa.data.physics`)."""

    kind: Literal["physics"]
    path: str
    """As for synthetic videos."""
    videos: Positive = 2000
    """Number of videos."""
    frames: Annotated[int, Field(ge=16)] = 24
    """Frames per video; a body needs several to come out from behind an occluder."""
    size_px: Annotated[int, Field(ge=16)] = 64
    """Width and height of the videos."""
    seed: int = 0
    """Seed of the generator; two sets with different seeds share no video."""
    weight: float = Field(default=1.0, gt=0)
    """As for files."""


Source = Annotated[FileSource | ShardSource | SyntheticSource | PhysicsSource, Field(discriminator="kind")]


def is_images(source: FileSource | ShardSource | SyntheticSource | PhysicsSource) -> bool:
    """Whether ``source`` holds images, not videos."""
    return source.modality == "image" if isinstance(source, ShardSource) else source.kind == "images"


class AugmentConfig(Section):
    """Augmentations on tensors, the same for all frames of a clip."""

    scale: Range = (0.3, 1.0)
    """Area of the random resized crop as a fraction of the frame (V-JEPA 2: .3-1)."""
    aspect: Range = (0.75, 1.35)
    """Width over height of that crop, relative to the clip's own (V-JEPA 2: .75-1.35); [1, 1] distorts nothing."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip. 0 where left and right differ in meaning."""
    color: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Brightness, contrast and saturation are each scaled by a factor drawn from 1 +- this; 0 is off."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must satisfy 0 < low <= high <= 1, got {list(self.scale)}")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"aspect must satisfy 0 < low <= high, got {list(self.aspect)}")
        return self


class ReadConfig(Section):
    """How clips are cut from a file, resized and normalised, and by how many processes."""

    frames_per_clip: Positive = 16
    """Frames of a video clip (T). Images always have T = 1."""
    fps: Annotated[float, Field(gt=0)] | None = None
    """Frames per second of the clip; frames repeat where the file has fewer. Give this or `stride` (V-JEPA 2: 4)."""
    stride: Positive | None = None
    """Every how many-th frame of the file is taken. Give this or `fps` (V-JEPA: 4)."""
    resolution: Positive | tuple[Positive, Positive] = 224
    """Pixels of the clip after augmentation: one number for a square, or [height, width]."""
    mean: RGB = (0.485, 0.456, 0.406)
    """Mean of red, green and blue in [0, 1] to subtract: ImageNet's. `jepa data inspect` prints a source's own."""
    std: RGB = (0.229, 0.224, 0.225)
    """Standard deviation of red, green and blue that pixels are divided by. Dark videos need their own."""
    short_side: Positive | None = None
    """Frames are shrunk to this short side right after decoding, before they are cached and augmented."""
    batch_size: Positive = 32
    """Clips per optimizer step, over all accumulation steps; in measuring, clips per forward pass."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Decoding processes; 0 decodes in the main process."""
    decoder: Literal["auto", "pyav", "torchcodec"] = "auto"
    """auto: torchcodec when it imports and works, else PyAV."""
    decode_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """A file whose decoding takes longer counts as bad."""
    retry_s: Annotated[float, Field(ge=0)] = 60.0
    """How long reading waits, with growing pauses, for a source that cannot be reached; then the file counts as bad."""
    max_bad_fraction: Fraction = 0.01
    """The run stops when more than this fraction of all files turned out bad."""

    @property
    def height_width(self) -> tuple[int, int]:
        """Pixels of the clip."""
        return (self.resolution, self.resolution) if isinstance(self.resolution, int) else self.resolution


class DataConfig(ReadConfig):
    """What is read, how clips are cut from it, and how they are fed."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Mixed by weight. Video and image sources may stand together; each batch is all of one kind."""
    image_fraction: Fraction | None = None
    """Share of steps that train on images when both kinds are given; by default the images' share of the weights."""
    clips_per_video: Positive = 1
    """Clips cut from one opened video; they fill neighbouring places of a batch, so it must divide `batch_size`."""
    jitter: bool = True
    """Draw the start of a clip at random; off: clips are spread evenly over the video."""
    cache_mb: Annotated[int, Field(ge=0)] = 0
    """Memory, per worker, for decoded (and shrunk) videos; 0 decodes every clip anew."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentations of training clips."""
    worker_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """A decoding process that gives no sign of life for so long beyond `decode_timeout_s` is replaced."""
    worker_memory_mb: Positive | None = None
    """A decoding process whose own memory grows by more than this is replaced (Linux); null never asks."""
    confine: str | None = None
    """A folder that everything in `sources` must lie inside, after links and `..`; null allows any path, and URLs."""

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.has_video and (self.fps is None) == (self.stride is None):
            raise ValueError(
                f"give exactly one of fps and stride, got fps={self.fps} and stride={self.stride}"
            )
        if self.batch_size % self.clips_per_video:
            raise ValueError(
                f"clips_per_video {self.clips_per_video} must divide batch_size {self.batch_size}"
            )
        return self

    @property
    def has_video(self) -> bool:
        """Whether any source gives video clips."""
        return any(not is_images(source) for source in self.sources)

    @property
    def has_images(self) -> bool:
        """Whether any source gives images."""
        return any(is_images(source) for source in self.sources)
