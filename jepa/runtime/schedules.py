"""Schedules as pure functions of the step, so that a resumed run needs no schedule state."""

import math

from jepa.config.method import EmaConfig
from jepa.config.schema import OptimConfig


def ramp(step: int, *, start: float, end: float, steps: int) -> float:
    """Go linearly from ``start`` at step 0 to ``end`` at step ``steps``, and stay there."""
    return start + (end - start) * min(1.0, step / max(1, steps))


def cosine(step: int, *, start: float, end: float, steps: int) -> float:
    """Go along half a cosine from ``start`` at step 0 to ``end`` at step ``steps``, and stay there."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))


def learning_rate(step: int, config: OptimConfig) -> float:
    """Warm up linearly, hold or follow a cosine, and cool down linearly over the last steps."""
    peak, final = config.learning_rate, config.final_learning_rate
    cooldown_from = config.steps - config.cooldown_steps
    if step < config.warmup_steps:
        return ramp(step, start=config.warmup_from, end=peak, steps=config.warmup_steps)

    def main(at: int) -> float:
        if config.schedule == "constant":
            return peak
        return cosine(
            at - config.warmup_steps, start=peak, end=final, steps=cooldown_from - config.warmup_steps
        )

    if step < cooldown_from or config.cooldown_steps == 0:
        return main(step)
    return ramp(step - cooldown_from, start=main(cooldown_from), end=final, steps=config.cooldown_steps)


def weight_decay(step: int, config: OptimConfig) -> float:
    """Follow half a cosine from ``weight_decay`` to ``final_weight_decay``; constant when that is not given."""
    if config.final_weight_decay is None:
        return config.weight_decay
    return cosine(step, start=config.weight_decay, end=config.final_weight_decay, steps=config.steps)


def momentum(step: int, config: EmaConfig, *, steps: int) -> float:
    """Go linearly from ``momentum`` to ``momentum_end``; constant when that is not given."""
    end = config.momentum if config.momentum_end is None else config.momentum_end
    return ramp(step, start=config.momentum, end=end, steps=steps)
