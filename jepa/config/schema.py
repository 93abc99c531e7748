"""A training run: every knob, typed, with its unit, its range and where its default comes from."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from jepa.config.data import DataConfig
from jepa.config.method import MasksConfig, ModelConfig, Objective, PredictorConfig
from jepa.config.probe import ProbeTask
from jepa.config.section import Positive, Section
from jepa.errors import ConfigError


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


class TrainingLog(Section):
    """What is written while training."""

    every_steps: Positive = 20
    """One line of metrics.jsonl every so many steps."""
    tensorboard: bool = True
    """Write TensorBoard events when tensorboard is installed."""
    wandb: str | None = None
    """Project of Weights & Biases that gets the numbers too (pip install 'jepa[wandb]'); with WANDB_MODE=offline they
    stay in the run directory. By default it is not even imported."""


class LogConfig(TrainingLog):
    """What is written while pre-training."""

    health_every_steps: Positive = 100
    """Effective rank and other health signals that cost a forward pass."""
    knn_every_steps: Positive | None = None
    """k-NN accuracy (faiss) on the train source of the first probe, each clip answered by those of other videos."""


class DistributedConfig(Section):
    """How several processes train together; what one process does not need."""

    engine: Literal["ddp", "fsdp"] = "ddp"
    """ddp: every process holds everything. fsdp: weights, gradients, optimizer and EMA target are sharded (FSDP2)."""


class TrainingConfig(Section):
    """What all training runs share."""

    program: ClassVar[str] = "pretrain"
    """The verb that trains it, which its checkpoints name."""

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
    """Threads of torch on the CPU; by default torch decides. Another number rounds differently."""
    initial_weights: str | None = None
    """A run directory or checkpoint whose weights step 0 starts from, as for a cooldown; the optimizer starts anew."""
    optim: OptimConfig
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: TrainingLog = TrainingLog()
    distributed: DistributedConfig = DistributedConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [message for is_wrong, message in self._rules() if is_wrong]
        if problems:
            raise ConfigError(problems)
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """Cross-field rules of a program, as (broken, message)."""
        return []


class PretrainConfig(TrainingConfig):
    """A pre-training run."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    predictor: PredictorConfig = PredictorConfig()
    masks: MasksConfig
    objective: Objective
    log: LogConfig = LogConfig()
    probes: tuple[ProbeTask, ...] = ()
    """Linear probes at the end of the run, beside raw pixels and a random-init encoder of the same shape."""

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
            (
                any("features" in (task.train.kind, task.test.kind) for task in self.probes),
                "probes of a run read videos or images; features on disk are for `jepa probe`",
            ),
            (self.log.knn_every_steps is not None and not self.probes, "log.knn_every_steps needs a probe"),
            (
                bool(self.model.levels or self.predictor.out or self.predictor.context_head)
                or self.model.modality_tokens
                or self.predictor.levels > 1,
                "model.levels, model.modality_tokens, predictor.levels, predictor.out, predictor.context_head are of "
                "weights from a file (V-JEPA 2.1); training predicts the last level alone",
            ),
        ]
