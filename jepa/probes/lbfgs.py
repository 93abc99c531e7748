"""L-BFGS over many independent problems at once, so that a whole grid of weight decays costs one loop."""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]

SUFFICIENT_DECREASE = 1e-4  # Armijo's constant (Nocedal & Wright, Numerical Optimization, section 3.1)
ROUNDING = 1e-6  # of a float32 loss; a step that looks this much worse is as good as the old point
HALVINGS = 20
MEMORY = 10


def minimise(evaluate: Evaluate, start: Tensor, *, iterations: int, tolerance: float) -> Tensor:
    """Minimise G smooth functions of P variables each by L-BFGS (Nocedal & Wright, algorithm 7.5).

    ``evaluate`` maps points (G, P) to losses (G,) and gradients (G, P); problems share the loop and nothing else.
    A problem rests once its gradient norm is at most ``tolerance``, or when rounding leaves no lower point along
    its direction.
    """
    point, (loss, gradient) = start, evaluate(start)
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)
    resting = gradient.norm(dim=1) <= tolerance
    for _ in range(iterations):
        if resting.all():
            break
        direction = -_apply_inverse_hessian(gradient, pairs)
        found, new_loss, new_gradient, moved = _descend(evaluate, point, loss, gradient, direction, resting)
        step, bend = found - point, new_gradient - gradient
        curvature = _dot(step, bend)  # > 0 for a strictly convex loss, but for rounding and rest
        pairs.append((step, bend, torch.where(curvature > 0, 1 / curvature.clamp_min(1e-30), 0)))
        point, loss, gradient = found, new_loss, new_gradient
        resting = resting | ~moved | (gradient.norm(dim=1) <= tolerance)
    return point


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return one inner product per problem: (G, P), (G, P) -> (G,)."""
    return (a * b).sum(dim=1)


def _apply_inverse_hessian(gradient: Tensor, pairs: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Multiply by the inverse Hessian that the last steps suggest, by the two-loop recursion."""
    direction, weights = gradient, []
    for step, bend, inverse in reversed(pairs):
        weights.append(inverse * _dot(step, direction))
        direction = direction - weights[-1][:, None] * bend
    if pairs:
        step, bend, inverse = pairs[-1]
        scale = torch.where(inverse > 0, _dot(step, bend) / _dot(bend, bend).clamp_min(1e-30), 1)
        direction = direction * scale[:, None]
    for (step, bend, inverse), weight in zip(pairs, reversed(weights), strict=True):
        direction = direction + (weight - inverse * _dot(bend, direction))[:, None] * step
    return direction


def _descend(
    evaluate: Evaluate, point: Tensor, loss: Tensor, gradient: Tensor, direction: Tensor, resting: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve each problem's step until its loss falls enough; without such a step it stays where it is."""
    slope = _dot(gradient, direction)
    length = torch.where(resting | (slope >= 0), 0.0, torch.ones_like(loss))
    for _ in range(HALVINGS):
        found = point + length[:, None] * direction
        new_loss, new_gradient = evaluate(found)
        is_high = (length > 0) & ~(
            new_loss <= loss + SUFFICIENT_DECREASE * length * slope + ROUNDING * loss.abs()
        )
        if not is_high.any():
            return found, new_loss, new_gradient, length > 0
        length = torch.where(is_high, length / 2, length)
    length = torch.where(is_high, 0.0, length)
    found = point + length[:, None] * direction
    return found, *evaluate(found), length > 0
