"""`jepa show`: what a config or a run is, and what a step of it costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from jepa.config.load import dump, load_config
from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.models.cost import Stack, count_parameters
from jepa.models.sizes import size
from jepa.objectives import build
from jepa.programs.masking import clip_grid, masks_for
from jepa.runtime.checkpoint import list_checkpoints
from jepa.runtime.seeding import generator


@dataclass(frozen=True)
class StepCost:
    """Cost of one optimizer step on batches of one modality."""

    modality: str
    tokens: int
    """Tokens of one clip, N."""
    context_tokens: tuple[int, ...]
    """Context tokens of one clip per encoder pass, K, with the masks of step 0."""
    target_tokens: tuple[int, ...]
    """Target tokens of one clip per predictor pass, M."""
    flops: float
    """Floating-point operations of the matrix products, 2 per multiply-add; backward counts twice forward."""
    activations_bytes: float
    """Estimate of what the forward pass keeps for the backward pass, of one micro-batch."""


@dataclass(frozen=True)
class Shown:
    """What `jepa show` prints."""

    config: PretrainConfig
    trained_parameters: int
    frozen_parameters: int
    weights_bytes: int
    """Weights, gradients and the optimizer's two moments, in float32."""
    steps: tuple[StepCost, ...]
    finished_step: int | None
    """Step of the newest checkpoint, for a run."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        rest = {
            name: getattr(self, name)
            for name in ("trained_parameters", "frozen_parameters", "weights_bytes", "finished_step")
        }
        return {
            "config": self.config.model_dump(mode="json"),
            **rest,
            "steps": [asdict(step) for step in self.steps],
        }


def show(source: str, overrides: Sequence[str] = ()) -> Shown:
    """Describe a config, or the config and progress of a run directory. No file of the data is opened."""
    run = Path(source)
    is_run = run.is_dir() and (run / "config.yaml").is_file()
    config = load_config(run / "config.yaml" if is_run else source, overrides)
    found = list_checkpoints(run) if is_run else []
    with torch.device("meta"):
        parameters = count_parameters(build(config))
    there: dict[Modality, bool] = {"video": config.data.has_video, "image": config.data.has_images}
    modalities = [modality for modality, is_there in there.items() if is_there]
    return Shown(
        config=config,
        trained_parameters=parameters.trained,
        frozen_parameters=parameters.frozen,
        weights_bytes=4 * (4 * parameters.trained + parameters.frozen),
        steps=tuple(step_cost(config, modality) for modality in modalities),
        finished_step=found[-1][0] if found else None,
    )


def step_cost(config: PretrainConfig, modality: Modality) -> StepCost:
    """Count one step from the masks that step 0 would draw."""
    data, model, batch = config.data, config.model, config.data.batch_size
    masks = masks_for(config, modality, batch, generator(config.seed, "masks", 0))
    tokens = clip_grid(config, modality).tokens
    # I-JEPA encodes its one context once; every other objective encodes one context per pattern.
    shared = modality == "image" and config.objective.kind in ("ijepa", "joint")
    passes = masks[:1] if shared else masks
    context, target = tuple(m.context.shape[1] for m in passes), tuple(m.target.shape[1] for m in masks)
    encode = [encoder_stack(config, m.context.shape[1]) for m in passes]
    whole = encoder_stack(config, tokens)
    width, narrow = whole.width, config.predictor.width
    seen = [m.context.shape[1] + m.target.shape[1] for m in masks]
    rotary = model.positions == "rotary"
    predict = [Stack(narrow, config.predictor.depth, 4.0, count, rotary=rotary) for count in seen]
    embed = 2 * tokens * 3 * model.patch**2 * (model.tubelet if modality == "video" else 1) * width
    ends = 2 * width * narrow * sum(seen)  # into the predictor's width, and out of it
    trained, frozen, extra = [*encode, *predict], whole.flops + embed, 0
    if config.objective.kind == "lejepa":  # the targets carry a gradient too, and SIGReg projects them
        trained, frozen = [*trained, whole], 0
        extra = 2 * 2 * tokens * width * config.objective.projections
    embeds = embed * (len(encode) + (frozen == 0))
    # The patch embedding needs no gradient for its input, the pixels: its backward pass is one forward, not two.
    flops = 3 * (sum(stack.flops for stack in trained) + ends) + 2 * embeds + frozen + extra
    number = 2 if config.dtype == "bfloat16" else 4
    recomputed = [*encode, whole] if model.checkpoint_activations else []
    kept = sum(stack.saved_elements for stack in trained if stack not in recomputed)
    micro = data.batch_size / config.optim.accumulate
    return StepCost(modality, tokens, context, target, batch * flops, micro * kept * number)


def encoder_stack(config: PretrainConfig, tokens: int) -> Stack:
    """Return the encoder's blocks with ``tokens`` tokens of one sample."""
    shape = size(config.model.size)
    rotary = config.model.positions == "rotary"
    return Stack(shape.width, shape.depth, shape.mlp_ratio, tokens, rotary=rotary)


def render(shown: Shown) -> str:
    """Return the resolved config and the costs as text."""
    lines = [dump(shown.config).rstrip(), ""]
    if shown.finished_step is not None:
        lines.append(f"checkpoint      step {shown.finished_step:,} of {shown.config.optim.steps:,}")
    lines.append(
        f"parameters      {shown.trained_parameters:,} trained, {shown.frozen_parameters:,} frozen (EMA target)"
    )
    lines.append(f"weights         {gib(shown.weights_bytes)} with gradients and optimizer")
    for step in shown.steps:
        context, target = listed(step.context_tokens), listed(step.target_tokens)
        lines += [
            f"{step.modality} clip      {step.tokens:,} tokens; context {context}; target {target}",
            f"{step.modality} step      {step.flops:.3g} FLOPs at batch {shown.config.data.batch_size}",
            f"{step.modality} memory    about {gib(step.activations_bytes)} of activations (estimate)",
        ]
    return "\n".join(lines)


def listed(counts: Sequence[int]) -> str:
    """Return counts side by side."""
    return " / ".join(f"{count:,}" for count in counts)


def gib(count: float) -> str:
    """Return bytes as MiB or GiB."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
