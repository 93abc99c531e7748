"""What is trained and what is minimised: encoder, predictor, masks, objective."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jepa.config.section import Fraction, Positive, Range, Section


class SizeConfig(Section):
    """Shape of a vision transformer of no published size."""

    width: Positive
    """Width of a token; `heads` must divide it."""
    depth: Positive
    """Blocks."""
    heads: Positive
    """Attention heads."""
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    """Hidden width of the MLP over `width`."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} must divide width {self.width}")
        return self


class ModelConfig(Section):
    """The encoder's shape."""

    size: str | SizeConfig = "tiny"
    """One of `jepa.models.SIZES`: nano, micro, mini (CPU), tiny, small, base, large, huge, giant, gigantic; or
    width, depth, heads and mlp_ratio."""
    patch: Positive = 16
    """Pixels along each side of a patch."""
    tubelet: Positive = 2
    """Frames per token along time. Images are embedded by a patch embedding of their own."""
    positions: Literal["rotary", "sincos", "sincos-2d"] = "rotary"
    """3-D rotary (V-JEPA 2), fixed 3-D sin-cos (V-JEPA 1), or fixed sin-cos of width and height (I-JEPA)."""
    rotary_layout: Literal["paired", "released"] = "paired"
    """Which angle turns which channel. paired: one per pair. released: as V-JEPA 2's weights were trained."""
    position_grid: tuple[Positive, Positive, Positive] | None = None
    """Tokens along time, height and width whose positions were learned with; those of other grids are fitted in."""
    position_fit: Literal["edges", "corners"] = "edges"
    """How rotary positions of another grid are fitted in. edges: frame on frame, and clip on clip. corners: first and
    last row and column on theirs, time as it is (V-JEPA 2.1, `interpolate_rope`)."""
    modality_tokens: bool = False
    """Add to each token, here and in the predictor, what it is of: a video or an image (V-JEPA 2.1)."""
    levels: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Blocks, counted from 0, whose outputs have norms of their own and can be had beside the last (V-JEPA 2.1)."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Stochastic depth rate of the last block; earlier blocks scale linearly from 0."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass: about a third more time, far less memory."""

    @model_validator(mode="after")
    def _levels_ascend(self) -> Self:
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"levels must ascend, got {list(self.levels)}")
        return self


class PredictorConfig(Section):
    """The narrow predictor."""

    width: Positive = 384
    """Width (V-JEPA: 384)."""
    depth: Positive = 12
    """Blocks (V-JEPA: 12)."""
    heads: Positive = 12
    """Attention heads; must divide `width`."""
    levels: Positive = 1
    """Levels of the encoder that it takes side by side, and predicts as many of (V-JEPA 2.1: 4)."""
    out: Positive | None = None
    """Width of a predicted token; by default `levels` times the encoder's (distilled V-JEPA 2.1: the teacher's)."""
    context_head: bool = False
    """Whether it predicts at context tokens too, by a projection of their own (V-JEPA 2.1)."""

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
