"""What is asked of a frozen encoder, on which clips, and by which heads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jepa.config.data import ReadConfig, Source
from jepa.config.heads import AttentiveHead, Head, LinearHead
from jepa.config.section import Fraction, Positive, Section


class FeatureSource(Section):
    """Features that `jepa embed` wrote."""

    kind: Literal["features"]
    path: str
    """Folder of features."""


class ProbeTask(Section):
    """Something to read from frozen features."""

    name: str
    """Name of the task in tables."""
    kind: Literal["classes", "labels", "values"] = "classes"
    """classes: one label of several. labels: any number of labels at once. values: numbers (regression)."""
    train: Annotated[Source | FeatureSource, Field(discriminator="kind")]
    """Labelled clips to fit on; a part of them, chosen by video, selects among heads."""
    test: Annotated[Source | FeatureSource, Field(discriminator="kind")]
    """Labelled clips that are scored once."""
    pooling: Literal["mean", "time"] = "time"
    """mean: over all tokens. time: over space, the time steps side by side. Applied alike to every row of the table."""
    heads: Annotated[tuple[Head, ...], Field(min_length=1)] = (LinearHead(kind="linear"),)
    """What is fitted; each head is a row of the table for each kind of features."""


class ClipsConfig(Section):
    """How clips are cut, read and embedded; what is left out is as it was in the model's training."""

    frames_per_clip: Positive | None = None
    """Frames of a clip."""
    fps: Annotated[float, Field(gt=0)] | None = None
    """Frames per second of the clip. Give this or `stride`."""
    stride: Positive | None = None
    """Every how many-th frame of the file is taken."""
    resolution: Positive | tuple[Positive, Positive] | None = None
    """Pixels of the clip: one number for a square, or [height, width]."""
    clips_per_video: Positive = 1
    """Clips of each video, spread evenly over it; their answers are averaged."""
    views: Literal[1, 3] = 1
    """Crops of each clip along its longer side; their answers are averaged (V-JEPA: 3)."""
    ahead_s: Annotated[float, Field(ge=0)] | None = None
    """Take the clip that ends so many seconds before a row's first frame, to anticipate the row (EK100: 1); before its
    last frame, where the row starts with its file."""
    batch_size: Positive = 32
    """Clips per forward pass."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Decoding processes; 0 decodes in the main process."""
    decoder: Literal["auto", "pyav", "torchcodec"] = "auto"
    """auto: torchcodec when it imports and works, else PyAV."""
    decode_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """A file whose decoding takes longer counts as bad."""
    max_bad_fraction: Fraction = 0.01
    """The program stops when more than this fraction of the files turned out bad."""

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.fps is not None and self.stride is not None:
            raise ValueError(f"give one of fps and stride, got fps={self.fps} and stride={self.stride}")
        if self.ahead_s is not None and self.clips_per_video > 1:
            raise ValueError(f"ahead_s names one clip per row, got clips_per_video {self.clips_per_video}")
        return self


class Extraction(Section):
    """Which features are computed of which clips."""

    clips: ClipsConfig = ClipsConfig()
    predict_steps: Annotated[int, Field(ge=0)] = 0
    """Time steps after the clip that the predictor adds to its tokens, for anticipation (V-JEPA 2, section 6)."""
    feature_dtype: Literal["float16", "float32"] = "float32"
    """Numbers on disk."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the encoder's and the heads' forward passes; weights stay float32."""


class EmbedConfig(Extraction):
    """Which encoder sees which clips, and what is kept."""

    model: str
    """A run directory, a checkpoint, or timm:NAME."""
    weights: Literal["target", "encoder"] = "target"
    """The EMA copy, as the papers probe it, or the encoder that was trained."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: cuda, else mps, else cpu."""
    threads: Positive | None = None
    """Threads of torch on the CPU; by default torch decides."""


class ProbeProtocol(ProbeTask, Extraction):
    """How an encoder is probed, whichever it is."""

    validation: Source | None = None
    """Labelled clips that select among heads; by default a part of train, chosen by video."""
    train_views: Literal[1, 3] | None = None
    """Views of the clips that are fitted on; by default `clips.views`, which is for the test (V-JEPA: 1 and 3)."""
    metric: str | None = None
    """The number that leads the table; by default accuracy, mAP or R2, by the kind of the task."""
    baselines: tuple[Literal["random init", "raw pixels"], ...] = ("random init", "raw pixels")
    """Rows beside the model: the same encoder before training, and pixels."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Each seed draws the validation part, the heads' weights, the order of batches and the untrained encoder."""

    @property
    def needs_tokens(self) -> bool:
        """Whether a head reads tokens, not pooled features."""
        return any(isinstance(head, AttentiveHead) for head in self.heads)


class ProbeConfig(ProbeProtocol, EmbedConfig):
    """A probe of a frozen encoder, beside its baselines."""

    run_dir: str
    """Where the table, summary.json and report.html go."""
    features_dir: str = "features"
    """Where features are kept, by fingerprint, so that none is computed twice."""


def read_config(clips: ClipsConfig, trained: ReadConfig | None) -> ReadConfig:
    """Return how clips are read: as in training, but for what ``clips`` says."""
    base = ReadConfig() if trained is None else trained
    said = {key: value for key, value in clips.model_dump().items() if value is not None}
    if {"fps", "stride"} & set(said):
        base = base.model_copy(update={"fps": None, "stride": None})
    update = {key: value for key, value in said.items() if key in ReadConfig.model_fields}
    return base.model_copy(update=update)
