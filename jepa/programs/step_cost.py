"""What one step of an objective runs, pass by pass, and the FLOPs of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.models.cost import NumberBytes, Stack
from jepa.models.sizes import size
from jepa.objectives.lejepa import KNOTS
from jepa.programs.masking import clip_grid, masks_for
from jepa.runtime.seeding import generator
from jepa.types import Masks

DRAWN = 3  # steps whose masks are drawn for a typical one

Part = Literal["context", "target", "predictor", "regularity"]
PARTS: tuple[Part, ...] = ("context", "target", "predictor", "regularity")


@dataclass(frozen=True)
class Pass:
    """One pass of one sample through a network, or through SIGReg."""

    part: Part
    stack: Stack
    outside: int = 0
    """FLOPs of the forward pass in linear layers beside the blocks."""
    embedding: int = 0
    """FLOPs of the patch embedding, whose input needs no gradient."""
    learns: bool = True
    """Whether there is a backward pass."""
    recompute: bool = False
    """Whether the blocks' activations are computed again for it."""
    last: bool = False
    """Whether that repeats the last product of each block, which nothing needs."""
    products: int = 0
    """Numbers that linear layers and the patch embedding keep outside the blocks."""
    norms: int = 0
    """Numbers of the inputs of norms that are kept outside the blocks."""
    wide: int = 0
    """Numbers kept in float32, whatever the products are in: those of the loss."""
    once: int = 0
    """Numbers kept in float32 once for all samples of a micro-batch."""

    @property
    def forward(self) -> int:
        """FLOPs of the forward pass."""
        return self.stack.flops + self.outside + self.embedding

    @property
    def model_flops(self) -> int:
        """FLOPs of forward and backward pass, the second twice the first: what any implementation must do."""
        if not self.learns:
            return self.forward
        return 3 * (self.stack.flops + self.outside) + 2 * self.embedding

    @property
    def hardware_flops(self) -> int:
        """FLOPs that are run: attention's backward pass repeats a product, checkpointing repeats blocks."""
        if not self.learns:
            return self.forward
        again = self.stack.recomputed_flops(last=self.last) if self.recompute else 0
        backward = self.stack.backward_flops + 2 * self.outside + self.embedding
        return self.forward + backward + again

    def kept(self, number: NumberBytes, samples: int) -> int:
        """Bytes that the forward pass of so many samples keeps for the backward pass."""
        if not self.learns:
            return 0
        outside = self.products * number.product + self.norms * number.norm + self.wide * 4
        return samples * (self.stack.kept_bytes(number, recompute=self.recompute) + outside) + 4 * self.once

    def passing(self, number: NumberBytes, samples: int) -> int:
        """Bytes that come and go in the backward pass; with checkpointing, all that one block keeps is among them."""
        again = self.stack.block_bytes(number) if self.recompute and self.learns else 0
        # Gradients of what the loss keeps; of the angles of SIGReg, for cosine and sine, each with a term on the way.
        terms = 4 if self.part == "regularity" else 2
        return samples * (self.stack.passing_bytes(number) + again + terms * 4 * self.wide)


@dataclass(frozen=True)
class StepCost:
    """What one sample of a step on clips of one modality runs; context and targets are those of the masks given."""

    modality: Modality
    tokens: int
    """Tokens of one clip, N."""
    context_tokens: tuple[int, ...]
    """Context tokens of one clip per encoder pass, K."""
    target_tokens: tuple[int, ...]
    """Target tokens of one clip per predictor pass, M."""
    pixels: int
    """Numbers of one clip, 3 T H W."""
    passes: tuple[Pass, ...]
    """In the order of the forward pass."""

    @property
    def model_flops(self) -> int:
        """FLOPs of the matrix products of one clip's forward and backward passes."""
        return sum(one.model_flops for one in self.passes)

    @property
    def hardware_flops(self) -> int:
        """FLOPs that are run, with what is computed twice."""
        return sum(one.hardware_flops for one in self.passes)

    def part(self, part: Part) -> int:
        """Return the FLOPs of one part that are run."""
        return sum(one.hardware_flops for one in self.passes if one.part == part)

    def kept(self, number: NumberBytes, samples: int) -> int:
        """Return the bytes of activations that the forward pass of so many clips keeps for the backward pass."""
        return sum(one.kept(number, samples) for one in self.passes)


def step_cost(config: PretrainConfig, modality: Modality, masks: Sequence[Masks] | None = None) -> StepCost:
    """Count one step on ``masks``; by default those that step 0 would draw."""
    data, model = config.data, config.model
    masks = masks or masks_for(config, modality, data.batch_size, generator(config.seed, "masks", 0))
    tokens = clip_grid(config, modality).tokens
    # I-JEPA encodes its one context once; every other objective encodes one context per pattern.
    shared = modality == "image" and config.objective.kind in ("ijepa", "joint")
    context = [m.context.shape[1] for m in (masks[:1] if shared else masks)]
    pixels = 3 * tokens * model.patch**2 * (model.tubelet if modality == "video" else 1)
    lejepa = config.objective.kind == "lejepa"
    passes = [encoder_pass(config, tokens, pixels, part="target", learns=lejepa)]
    for number, one in enumerate(masks):
        if number < len(context):
            passes.append(encoder_pass(config, context[number], pixels, part="context"))
        passes.append(predictor_pass(config, one.context.shape[1], one.target.shape[1]))
    if config.objective.kind == "lejepa":
        passes.append(regularity_pass(config, tokens, config.objective.projections))
    targets = tuple(m.target.shape[1] for m in masks)
    return StepCost(modality, tokens, tuple(context), targets, pixels, tuple(passes))


def typical_costs(config: PretrainConfig, modality: Modality) -> tuple[StepCost, StepCost]:
    """Return the middle one in FLOPs, and the largest, of the first `DRAWN` steps: the shape of masks is random."""
    drawn = [
        masks_for(config, modality, config.data.batch_size, generator(config.seed, "masks", step))
        for step in range(DRAWN)
    ]
    costs = sorted(
        (step_cost(config, modality, masks) for masks in drawn), key=lambda one: one.hardware_flops
    )
    return costs[DRAWN // 2], costs[-1]


def encoder_pass(
    config: PretrainConfig, tokens: int, pixels: int, *, part: Part, learns: bool = True
) -> Pass:
    """Return one pass of the encoder over ``tokens`` of a clip; its patches are all embedded, whichever are kept."""
    shape = size(config.model.size)
    width = shape.width
    rotary = config.model.positions == "rotary"
    stack = Stack(width, shape.depth, shape.heads, shape.mlp_ratio, tokens, rotary=rotary)
    # In bfloat16 the patch embedding keeps a copy of the clip; in float32 it is the batch's own.
    copied = pixels if config.dtype == "bfloat16" else 0
    return Pass(
        part,
        stack,
        embedding=2 * pixels * width,
        learns=learns,
        recompute=config.model.checkpoint_activations,
        last=config.dtype == "float32",
        products=copied,
        norms=tokens * width,
    )


def predictor_pass(config: PretrainConfig, context: int, target: int) -> Pass:
    """Return one pass of the predictor from ``context`` tokens to ``target`` tokens."""
    width, shape = size(config.model.size).width, config.predictor
    rotary = config.model.positions == "rotary"
    stack = Stack(shape.width, shape.depth, shape.heads, 4.0, context + target, rotary=rotary)
    return Pass(
        "predictor",
        stack,
        outside=2 * width * shape.width * (context + target),  # into the predictor's width, and out of it
        products=context * width + target * shape.width,
        norms=(context + target) * shape.width,
        wide=2 * target * width,  # predictions and targets
    )


def regularity_pass(config: PretrainConfig, tokens: int, projections: int) -> Pass:
    """Return SIGReg's projections of all tokens (LeJEPA); the directions need no gradient."""
    width = size(config.model.size).width
    none = Stack(width, 0, 1, 1.0, tokens, rotary=False)
    return Pass(
        "regularity",
        none,
        embedding=2 * tokens * width * projections,
        wide=tokens * projections * KNOTS,  # the angles
        once=4 * tokens * projections * KNOTS,  # means of cosines and sines, and the terms of the statistic
    )
