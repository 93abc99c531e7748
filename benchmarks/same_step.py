"""Whether two implementations of a pre-training step are the same: loss, gradients, weights after it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.pairs import print_table
from benchmarks.upstream import Upstream, renamed
from jepa.programs.pretrain_step import PretrainState, pretrain_step
from jepa.types import Batch

CHECKED_EPS = (
    1e-5  # of AdamW in the step that is compared; its first step else is the sign of rounded gradients
)
MASK_TOKENS = "predictor.mask_tokens"


class Limits(NamedTuple):
    """Largest relative differences that rounding may make."""

    loss: float
    gradient: float
    update: float
    target: float


# The gradient of the L1 loss is a sign, which rounding turns where a prediction meets its target: at about one number
# in a million, and then gradients differ by a thousandth. In bfloat16 the clone computes rotary angles in bfloat16,
# ours in float32.
LIMITS = {"float32": Limits(1e-5, 5e-3, 2e-2, 1e-2), "bfloat16": Limits(2e-2, 0.2, 0.5, 0.1)}


@dataclass(frozen=True)
class Step:
    """What one step computed, by the clone's names, on the CPU."""

    loss: float
    gradients: dict[str, Tensor]
    updates: dict[str, Tensor]
    """Weights after the step, less those before it."""
    target: dict[str, Tensor]
    """The same of the target encoder, numbered in order."""


def our_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename what our objective trains as the clone does."""
    return renamed({name: value for name, value in tensors.items() if not name.startswith("target_encoder.")})


def merged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum over mask tokens: the clone has one for each pattern, but uses the first for all."""
    tokens = [value for name, value in tensors.items() if name.startswith(MASK_TOKENS)]
    rest = {name: value for name, value in tensors.items() if not name.startswith(MASK_TOKENS)}
    return rest | {MASK_TOKENS: torch.stack(tokens).sum(0)}


def record(
    run: Callable[[], Any],
    optimizer: torch.optim.Optimizer,
    trained: dict[str, nn.Parameter],
    target: nn.Module,
) -> Step:
    """Make a step and copy what it computed; ``trained`` is by the owner's names."""
    slow = {str(number): value for number, value in enumerate(target.parameters())}
    before, slow_before = copied(trained), copied(slow)
    gradients: dict[str, Tensor] = {}

    def keep(*_: object) -> None:
        for name, value in trained.items():
            found = torch.zeros_like(value) if value.grad is None else value.grad
            gradients[name] = found.detach().cpu().clone()

    usual = [group["eps"] for group in optimizer.param_groups]
    hook = optimizer.register_step_pre_hook(keep)
    for group in optimizer.param_groups:
        group["eps"] = CHECKED_EPS
    loss = float(run())
    hook.remove()
    for group, eps in zip(optimizer.param_groups, usual, strict=True):
        group["eps"] = eps
    return Step(loss, gradients, moved(copied(trained), before), moved(copied(slow), slow_before))


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


def moved(after: dict[str, Tensor], before: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return by how much tensors changed."""
    return {name: value - before[name] for name, value in after.items()}


def record_ours(state: PretrainState, batch: Batch) -> Step:
    """Make one of our steps; what is found has the clone's names."""
    trained = {name: value for name, value in state.objective.named_parameters() if value.requires_grad}
    target = state.objective.get_submodule("target_encoder")
    step = record(lambda: pretrain_step(state, batch)["loss"], state.optimizer, trained, target)
    return Step(step.loss, our_names(step.gradients), our_names(step.updates), step.target)


def largest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> tuple[float, str]:
    """Return the largest distance of two tensors of one name, relative to theirs, and the name."""
    if ours.keys() != theirs.keys():
        raise SystemExit(f"other weights are trained: {sorted(ours.keys() ^ theirs.keys())}")
    return max((float((ours[name] - theirs[name]).norm() / theirs[name].norm()), name) for name in theirs)


def flat(tensors: dict[str, Tensor]) -> Tensor:
    """Return all numbers of tensors, in order of their names."""
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def compare(ours: Step, theirs: Step, limits: Limits) -> None:
    """Print what was compared, the difference, what is allowed, and where. Raises SystemExit where it is more."""
    no_tokens = [
        {name: value for name, value in step.updates.items() if not name.startswith(MASK_TOKENS)}
        for step in (ours, theirs)  # the clone decays mask tokens, and leaves all but one of them alone
    ]
    gradient = largest(merged(ours.gradients), merged(theirs.gradients))
    update = largest(*no_tokens)
    # Of all together: what moves a norm's weight of 1 may be near its rounding.
    target = largest({"all together": flat(ours.target)}, {"all together": flat(theirs.target)})
    loss = abs(ours.loss - theirs.loss) / theirs.loss
    rows = [
        ("loss", loss, limits.loss, f"{theirs.loss:.6f}"),
        ("gradient of a tensor", gradient[0], limits.gradient, gradient[1]),
        ("update of a tensor", update[0], limits.update, update[1]),
        ("update of the target encoder", target[0], limits.target, target[1]),
    ]
    print_table(
        ("one step, largest relative difference", "found", "allowed", "of"),
        [(what, f"{found:.1e}", f"{allowed:.0e}", where) for what, found, allowed, where in rows],
    )
    if wrong := [what for what, found, allowed, _ in rows if not found <= allowed]:
        raise SystemExit(f"not the same step: {', '.join(wrong)}")


def record_theirs(upstream: Upstream) -> Step:
    """Make one of the clone's steps."""
    return record(upstream.step, upstream.optimizer, upstream.named(), upstream.target_encoder)
