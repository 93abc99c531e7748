"""Every knob of a pre-training run, typed, with its unit, its range and where its default comes from."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jepa.errors import ConfigError

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]


class Section(BaseModel):
    """Base of all sections: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class FileSource(Section):
    """Videos or images on disk."""

    kind: Literal["folder", "csv", "images"]
    """folder: a tree of videos, `class/video.mp4` or flat. images: likewise for images.
    csv: a list of `path,label[,start,end]` or `path label` lines."""
    path: str
    """Folder or list file, relative to the working directory. Relative entries of a list start at the list's folder."""
    weight: float = Field(default=1.0, gt=0)
    """Share of this source among the sources of its kind of clip (video or image); weights need not sum to one."""
    split: str | None = None
    """Keep only the rows of a csv whose `split` column holds this value."""


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
    label: Literal["motion", "appearance"] = "motion"
    """Which of the two labels the source carries (for online k-NN and probes; pre-training ignores labels)."""
    weight: float = Field(default=1.0, gt=0)
    """As for files."""


Source = Annotated[FileSource | SyntheticSource, Field(discriminator="kind")]


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


class DataConfig(Section):
    """What is read, how clips are cut from it, and how they are fed."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Mixed by weight. Video and image sources may stand together; each batch is all of one kind."""
    image_fraction: Fraction | None = None
    """Share of steps that train on images when both kinds are given; by default the images' share of the weights."""
    frames_per_clip: Positive = 16
    """Frames of a video clip (T). Images always have T = 1."""
    fps: Annotated[float, Field(gt=0)] | None = None
    """Frames per second of the clip; frames repeat where the file has fewer. Give this or `stride` (V-JEPA 2: 4)."""
    stride: Positive | None = None
    """Every how many-th frame of the file is taken. Give this or `fps` (V-JEPA: 4)."""
    clips_per_video: Positive = 1
    """Clips cut from one opened video; they fill neighbouring places of a batch, so it must divide `batch_size`."""
    jitter: bool = True
    """Draw the start of a clip at random; off: clips are spread evenly over the video."""
    resolution: Positive | tuple[Positive, Positive] = 224
    """Pixels of the clip after augmentation: one number for a square, or [height, width]."""
    short_side: Positive | None = None
    """Frames are shrunk to this short side right after decoding, before they are cached and augmented."""
    cache_mb: Annotated[int, Field(ge=0)] = 0
    """Memory, per worker, for decoded (and shrunk) videos; 0 decodes every clip anew."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentations of training clips."""
    batch_size: Positive = 32
    """Clips per optimizer step, over all accumulation steps."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Decoding processes; 0 decodes in the training process."""
    decoder: Literal["auto", "pyav", "torchcodec"] = "auto"
    """auto: torchcodec when it imports and works, else PyAV."""
    decode_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """A file whose decoding takes longer counts as bad."""
    max_bad_fraction: Fraction = 0.01
    """The run stops when more than this fraction of all files turned out bad."""

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
    def height_width(self) -> tuple[int, int]:
        """Pixels of the clip."""
        return (self.resolution, self.resolution) if isinstance(self.resolution, int) else self.resolution

    @property
    def has_video(self) -> bool:
        """Whether any source gives video clips."""
        return any(source.kind != "images" for source in self.sources)

    @property
    def has_images(self) -> bool:
        """Whether any source gives images."""
        return any(source.kind == "images" for source in self.sources)


class ModelConfig(Section):
    """The encoder's shape."""

    size: str = "tiny"
    """One of `jepa.models.SIZES`: nano, micro, mini (CPU), tiny, small, base, large, huge, giant, gigantic."""
    patch: Positive = 16
    """Pixels along each side of a patch."""
    tubelet: Positive = 2
    """Frames per token along time. Images are embedded by a patch embedding of their own."""
    positions: Literal["rotary", "sincos"] = "rotary"
    """3-D rotary (V-JEPA 2) or fixed 3-D sin-cos (V-JEPA 1)."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Stochastic depth rate of the last block; earlier blocks scale linearly from 0."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass: about a third more time, far less memory."""


class PredictorConfig(Section):
    """The narrow predictor."""

    width: Positive = 384
    """Width (V-JEPA: 384)."""
    depth: Positive = 12
    """Blocks (V-JEPA: 12)."""
    heads: Positive = 12
    """Attention heads; must divide `width`."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} must divide width {self.width}")
        return self


class MultiBlockMask(Section):
    """Blocks in space over the whole clip; the context is what no block covers (V-JEPA, section 3.2)."""

    kind: Literal["multiblock"]
    blocks: Positive
    """Number of blocks, which may overlap (V-JEPA: 8 short-range, 2 long-range)."""
    scale: Fraction
    """Area of one block as a fraction of the frame (V-JEPA: .15 short-range, .7 long-range)."""
    aspect: Range = (0.75, 1.5)
    """Range of the blocks' width over height."""
    truncate: Literal["uniform", "raster"] = "uniform"
    """How samples are cut to equal counts. uniform: random tokens go. raster: late frames go first, as published."""


class TubeMask(Section):
    """Random places hidden through the whole clip (VideoMAE's tubes)."""

    kind: Literal["tube"]
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Fraction of places that are hidden."""


class RandomMask(Section):
    """Tokens hidden independently of each other."""

    kind: Literal["random"]
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Fraction of tokens that are hidden."""


class CausalMask(Section):
    """Later tokens are predicted from the first ones."""

    kind: Literal["causal"]
    context: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Fraction of time steps, from the start, that is visible."""


class ImageBlocksMask(Section):
    """Several target blocks and one large context block, in space (I-JEPA, section 3)."""

    kind: Literal["image_blocks"]
    targets: Positive = 4
    """Number of target blocks."""
    target_scale: Range = (0.15, 0.2)
    """Area of a target block as a fraction of the image."""
    target_aspect: Range = (0.75, 1.5)
    """Width over height of target blocks."""
    context_scale: Range = (0.85, 1.0)
    """Area of the square context block, before the targets are taken out of it."""


VideoMask = Annotated[MultiBlockMask | TubeMask | RandomMask | CausalMask, Field(discriminator="kind")]
ImageMask = Annotated[ImageBlocksMask | MultiBlockMask | RandomMask, Field(discriminator="kind")]


class MasksConfig(Section):
    """Patterns drawn for every batch; each pattern has its own mask token in the predictor."""

    video: tuple[VideoMask, ...] = ()
    """Patterns of video batches; required when a video source is given."""
    image: tuple[ImageMask, ...] = ()
    """Patterns of image batches; required when an image source is given."""


class EmaConfig(Section):
    """Momentum of the target encoder: target = momentum * target + (1 - momentum) * encoder."""

    momentum: Fraction = 0.99925
    """Momentum at the first step (V-JEPA 2: .99925; V-JEPA: .998; I-JEPA: .996)."""
    momentum_end: Fraction | None = None
    """Momentum at the last step, reached linearly; by default it stays constant (V-JEPA, I-JEPA: 1)."""


class VJepaObjective(EmaConfig):
    """Predict layer-normed EMA features of hidden space-time tokens (V-JEPA, arXiv:2404.08471)."""

    kind: Literal["vjepa"]
    loss: Literal["l1", "l2", "smooth_l1"] = "l1"
    """Distance between prediction and target (V-JEPA: l1)."""


class IJepaObjective(EmaConfig):
    """Predict EMA features of several image blocks from one context block (I-JEPA, arXiv:2301.08243)."""

    kind: Literal["ijepa"]
    loss: Literal["l1", "l2", "smooth_l1"] = "smooth_l1"
    """Distance between prediction and target (paper: l2; released code: smooth_l1)."""


class JointObjective(EmaConfig):
    """V-JEPA on video batches and I-JEPA on image batches, with one encoder and one predictor."""

    kind: Literal["joint"]
    video_loss: Literal["l1", "l2", "smooth_l1"] = "l1"
    """As `loss` of vjepa."""
    image_loss: Literal["l1", "l2", "smooth_l1"] = "smooth_l1"
    """As `loss` of ijepa."""


class LeJepaObjective(Section):
    """Prediction and SIGReg, without EMA and stop-gradient (LeJEPA, arXiv:2511.08544, on masked tokens)."""

    kind: Literal["lejepa"]
    sigreg_weight: Fraction = 0.05
    """Share of SIGReg in the loss: (1 - weight) * prediction + weight * SIGReg (LeJEPA's lambda, .02-.05)."""
    projections: Positive = 256
    """Random directions per step (LeJEPA: 1024)."""


Objective = Annotated[
    VJepaObjective | IJepaObjective | JointObjective | LeJepaObjective, Field(discriminator="kind")
]


class OptimConfig(Section):
    """AdamW and its schedules. Time is counted in optimizer steps."""

    steps: Positive
    """Length of the run."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Peak, after warm-up (V-JEPA 2: 5.25e-4 at a global batch of 3,072 clips)."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Between warm-up and cooldown (V-JEPA 2 trains constant, V-JEPA cosine)."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of linear warm-up."""
    warmup_from: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate at step 0 when there is a warm-up (V-JEPA 2: 1e-4)."""
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """End of the cosine or of the cooldown."""
    cooldown_steps: Annotated[int, Field(ge=0)] = 0
    """Last steps, over which the rate falls linearly to `final_learning_rate`."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.04
    """On matrices only; biases, norms and mask tokens have none (V-JEPA 2: .04)."""
    final_weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay at the last step, reached on a cosine; by default constant (V-JEPA: .04 to .4)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's betas."""
    clip_grad: Annotated[float, Field(gt=0)] | None = None
    """Largest gradient norm; by default gradients are not clipped (V-JEPA 2: none)."""
    accumulate: Positive = 1
    """Micro-batches per step; must divide `data.batch_size`."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warmup_steps + self.cooldown_steps > self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} + cooldown_steps {self.cooldown_steps} exceed steps {self.steps}"
            )
        return self


class CheckpointConfig(Section):
    """When the whole state is written, and what is kept."""

    every_steps: Positive = 1000
    """Write every so many steps."""
    every_minutes: Annotated[float, Field(gt=0)] = 30.0
    """And at the latest after so many minutes."""
    keep_last: Positive = 2
    """Newest checkpoints that are kept."""
    keep_every: Positive | None = None
    """Checkpoints at multiples of this step are kept for ever."""


class LogConfig(Section):
    """What is written while training."""

    every_steps: Positive = 20
    """One line of metrics.jsonl every so many steps."""
    health_every_steps: Positive = 100
    """Effective rank and other health signals that cost a forward pass."""
    knn_every_steps: Positive | None = None
    """Leave-one-out k-NN accuracy (faiss) on the train source of the first probe."""
    tensorboard: bool = True
    """Write TensorBoard events when tensorboard is installed."""


class ProbeTask(Section):
    """A label to read from frozen features at the end of the run."""

    name: str
    """Name of the task in tables."""
    train: Source
    """Labelled clips to fit on; a part of them, chosen by video, selects the weight decay."""
    test: Source
    """Labelled clips that are scored once."""
    pooling: Literal["mean", "time"] = "time"
    """mean: over all tokens. time: over space, the time steps side by side. Applied alike to every row of the table."""


class PretrainConfig(Section):
    """A pre-training run."""

    run_dir: str
    """Where everything the run produces goes; an unfinished run there is continued."""
    seed: int = 0
    """Initial weights, data order, crops and masks are functions of this and the step."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: cuda, else mps, else cpu."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass (autocast); weights and optimizer stay float32. On CPUs float32 is fastest."""
    compile: bool = False
    """Compile encoder and predictor with torch.compile."""
    threads: Positive | None = None
    """Threads of torch on the CPU; by default torch decides."""
    initial_weights: str | None = None
    """A run directory or checkpoint whose weights step 0 starts from, as for a cooldown; the optimizer starts anew."""
    data: DataConfig
    model: ModelConfig = ModelConfig()
    predictor: PredictorConfig = PredictorConfig()
    masks: MasksConfig
    objective: Objective
    optim: OptimConfig
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    probes: tuple[ProbeTask, ...] = ()
    """Linear probes at the end of the run, beside raw pixels and a random-init encoder of the same shape."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [message for is_wrong, message in self._rules() if is_wrong]
        if problems:
            raise ConfigError(problems)
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """Cross-field rules, as (broken, message)."""
        data, kind = self.data, self.objective.kind
        shape = f"data.resolution {data.resolution} is not a multiple of model.patch {self.model.patch}"
        length = f"data.frames_per_clip {data.frames_per_clip} is not a multiple of model.tubelet {self.model.tubelet}"
        return [
            (any(side % self.model.patch for side in data.height_width), shape),
            (data.has_video and data.frames_per_clip % self.model.tubelet != 0, length),
            (
                data.batch_size % self.optim.accumulate != 0,
                f"optim.accumulate {self.optim.accumulate} must divide data.batch_size {data.batch_size}",
            ),
            (data.has_video and not self.masks.video, "masks.video is empty, but a video source is given"),
            (data.has_images and not self.masks.image, "masks.image is empty, but an image source is given"),
            (
                data.has_images and kind == "vjepa",
                "objective vjepa trains on video alone; use joint for video and images, ijepa for images",
            ),
            (
                data.has_video and kind == "ijepa",
                "objective ijepa trains on images alone; use joint or vjepa",
            ),
            (
                kind in ("ijepa", "joint") and any(mask.kind != "image_blocks" for mask in self.masks.image),
                f"objective {kind} needs masks.image of kind image_blocks",
            ),
            (self.log.knn_every_steps is not None and not self.probes, "log.knn_every_steps needs a probe"),
        ]
