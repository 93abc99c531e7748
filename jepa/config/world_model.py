"""A world model: frame encoder, action-conditioned dynamics, what is minimised, and a learned distance in time."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from jepa.config.schema import TrainingConfig
from jepa.config.section import Positive, Section
from jepa.config.trajectories import TrajectoryData


class FrozenFrames(Section):
    """An encoder that stays as it is; every frame is encoded alone (V-JEPA 2-AC, DINO-WM)."""

    kind: Literal["frozen"]
    source: str
    """A run directory, a checkpoint, or timm:NAME[@FILE]."""
    weights: Literal["target", "encoder"] = "target"
    """The EMA copy, or the encoder that was trained."""
    tokens: Literal["patches", "pooled"] = "patches"
    """All patch tokens of a frame, or their mean."""
    normalise: bool = True
    """Layer-norm each token, without affine weights (V-JEPA 2-AC, section 3)."""
    components: Positive | None = None
    """Keep so many principal components of the training frames' tokens, side by side, as one vector; null: all tokens.

    Takes away what all frames share, and makes dynamics mlp possible; predictions are not layer-normed then.
    """


class VitFrames(Section):
    """A ViT trained with the dynamics; its mean token goes through a projector with batch norm (LeWM)."""

    kind: Literal["vit"]
    size: str = "tiny"
    """One of `jepa.models.SIZES`."""
    patch: Positive = 14
    """Pixels along each side of a patch."""
    dim: Positive = 192
    """Numbers per frame (LeWM: 192)."""


class ConvFrames(Section):
    """A small convolutional net trained with the dynamics, for small images on a CPU."""

    kind: Literal["conv"]
    width: Positive = 32
    """Channels of the first layer; they double with each halving of the image, up to four times."""
    dim: Positive = 64
    """Numbers per frame."""


FramesConfig = Annotated[FrozenFrames | VitFrames | ConvFrames, Field(discriminator="kind")]


class TransformerShape(Section):
    """Shape of a transformer over frames."""

    depth: Positive = 6
    """Blocks."""
    width: Positive = 384
    """Width."""
    heads: Positive = 16
    """Attention heads; must divide `width`."""
    history: Positive = 3
    """Frames that a frame attends to, itself among them."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} must divide width {self.width}")
        return self


class TokenDynamics(TransformerShape):
    """Block-causal transformer over [action, state, patches] of each frame (V-JEPA 2-AC, arXiv:2506.09985)."""

    kind: Literal["tokens"]
    depth: Positive = 24
    """Blocks (V-JEPA 2-AC: 24)."""
    width: Positive = 1024
    """Width (V-JEPA 2-AC: 1024)."""
    history: Positive = 8
    """Frames that a frame attends to, itself among them (V-JEPA 2-AC trains on 8)."""
    next_state: Literal["given", "add", "pose"] = "add"
    """Proprioception of imagined frames. add: the action is its change. given: it stays as it was. pose: both are
    x, y, z, three angles and a gripper, and rotations are composed (V-JEPA 2-AC)."""
    rotary_layout: Literal["paired", "released"] = "paired"
    """Which angle turns which channel. paired: one per pair. released: as V-JEPA 2-AC's weights were trained."""


class ConcatDynamics(TransformerShape):
    """Frame-causal transformer over patches, each beside an embedding of the action (DINO-WM, arXiv:2411.04983)."""

    kind: Literal["concat"]
    action_dim: Positive = 10
    """Width of the action's embedding, and of the proprioception's (DINO-WM: 10)."""


class AdaLNDynamics(TransformerShape):
    """Causal transformer over frame vectors, modulated by the action (LeWM, arXiv:2603.19312)."""

    kind: Literal["adaln"]
    head_width: Positive | None = None
    """Numbers of an attention head; `width` / `heads` where it is not given (LeWM: 64, wider than its 192 / 16)."""
    mlp_width: Positive | None = None
    """Hidden width of the MLPs; 4 times `width` where it is not given (LeWM: 2048)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """In attention and MLP (LeWM: .1)."""


class MlpDynamics(Section):
    """A residual MLP on frame vector and action (PLDM, arXiv:2502.14819)."""

    kind: Literal["mlp"]
    width: Positive = 512
    """Hidden width."""
    depth: Positive = 2
    """Hidden layers."""


DynamicsConfig = Annotated[
    TokenDynamics | ConcatDynamics | AdaLNDynamics | MlpDynamics, Field(discriminator="kind")
]


class RolloutLoss(Section):
    """Base of the objectives: prediction with teacher forcing, and over imagined steps."""

    rollout_steps: Annotated[int, Field(ge=0)] = 0
    """Steps imagined from the first frame and compared with what was seen; 0 for none."""
    rollout_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of that loss."""


class AcObjective(RolloutLoss):
    """L1 with teacher forcing and on a rollout, in the space of a frozen encoder (V-JEPA 2-AC, section 3)."""

    kind: Literal["ac"]
    loss: Literal["l1", "l2", "smooth_l1"] = "l1"
    """Distance to the encoded frame (V-JEPA 2-AC: l1; DINO-WM: l2)."""
    rollout_steps: Annotated[int, Field(ge=0)] = 2
    """Steps that are imagined (V-JEPA 2-AC: 2; DINO-WM: 0)."""


class LeWmObjective(RolloutLoss):
    """Prediction and SIGReg from pixels, without EMA and stop-gradient (LeWM, arXiv:2603.19312)."""

    kind: Literal["lewm"]
    sigreg_weight: Annotated[float, Field(ge=0)] = 0.09
    """Weight of SIGReg beside the prediction (LeWM: .09)."""
    projections: Positive = 1024
    """Random directions per step (LeWM: 1024)."""
    inverse_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of inverse dynamics, the action read from two neighbouring frames (LeWM: 0; PLDM has it)."""


class PldmObjective(RolloutLoss):
    """VICReg, inverse dynamics and similarity in time (PLDM, arXiv:2502.14819, section 3)."""

    kind: Literal["pldm"]
    variance_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the hinge on each channel's deviation."""
    covariance_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the channels' covariances."""
    time_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the distance between neighbouring frames."""
    inverse_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of inverse dynamics."""
    rollout_steps: Annotated[int, Field(ge=0)] = 8
    """Steps that are imagined."""


WorldModelObjective = Annotated[AcObjective | LeWmObjective | PldmObjective, Field(discriminator="kind")]


class ValueConfig(Section):
    """A learned distance in time, steps from frame to goal, learned from the same episodes (QRL, arXiv:2304.01203)."""

    steps: Positive = 3000
    """Optimizer steps, after the world model's."""
    batch_size: Annotated[int, Field(ge=2)] = 512
    """Pairs of neighbouring frames per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Adam's, at the start; a cosine lowers it to a twentieth (QRL: 5e-4)."""
    width: Positive = 256
    """Hidden width."""
    dim: Annotated[int, Field(ge=2)] = 64
    """Width of the space in which distance is measured."""
    pool: bool = True
    """Measure between means over tokens; false takes all tokens side by side, which tells where things are."""
    reach: Annotated[float, Field(gt=0)] = 50.0
    """Model steps, more than between most frames; farther ones are pushed apart no more (QRL: 15 or 500)."""
    slack: Annotated[float, Field(gt=0)] = 0.1
    """Root mean square by which neighbouring frames may be more than one step apart (QRL: .25)."""


class WorldModelArchitecture(Section):
    """What a world model is, apart from how it is trained: enough to build it for weights from a file."""

    frames: FramesConfig
    """The encoder of single frames."""
    dynamics: DynamicsConfig
    """What actions do to what it encodes."""
    value: ValueConfig | None = None
    """The learned distance in time, where there is one."""
    resolution: Positive | tuple[Positive, Positive]
    """Pixels of a frame: a side, or height and width."""
    frame_skip: Positive = 1
    """Environment steps per model step."""


class WorldModelConfig(TrainingConfig):
    """A world model's training run."""

    program: ClassVar[str] = "world-model"

    data: TrajectoryData
    frames: FramesConfig
    dynamics: DynamicsConfig
    objective: WorldModelObjective
    value: ValueConfig | None = None
    """Also learn a distance in time, for planning."""
    horizon: Positive = 16
    """Model steps over which prediction errors are reported."""

    @property
    def architecture(self) -> WorldModelArchitecture:
        """What is trained."""
        return WorldModelArchitecture(
            frames=self.frames,
            dynamics=self.dynamics,
            value=self.value,
            resolution=self.data.resolution,
            frame_skip=self.data.frame_skip,
        )

    def _rules(self) -> list[tuple[bool, str]]:
        """Cross-field rules, as (broken, message)."""
        frames = self.frames
        vectors = frames.kind != "frozen" or frames.tokens == "pooled" or frames.components is not None
        return [
            (
                self.objective.kind in ("lewm", "pldm") and self.frames.kind == "frozen",
                f"objective {self.objective.kind} trains the frames' encoder; frames.kind must be vit or conv",
            ),
            (
                self.objective.kind == "ac" and self.frames.kind != "frozen",
                "objective ac would let a trained encoder collapse; frames.kind must be frozen, "
                f"got {self.frames.kind}",
            ),
            (
                self.dynamics.kind in ("adaln", "mlp") and not vectors,
                f"dynamics {self.dynamics.kind} predicts one vector per frame; set frames.components: 128, "
                "or frames.tokens: pooled",
            ),
            (
                self.objective.rollout_steps > self.data.window - 1,
                f"objective.rollout_steps {self.objective.rollout_steps} needs data.window of at least "
                f"{self.objective.rollout_steps + 1} frames, got {self.data.window}",
            ),
        ]
