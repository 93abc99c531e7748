"""How long a step takes on given hardware: computing, sending what computing does not hide, and the optimizer."""

from dataclasses import asdict, dataclass
from typing import Any

from jepa.config.hardware import Hardware
from jepa.programs.step_cost import Pass, StepCost
from jepa.programs.step_memory import NetworkSizes, Setting

REACHED = 0.8  # share of a data sheet's bandwidth, of memory and of links, that large transfers reach
ADAMW_BYTES = (
    28 + 4
)  # per parameter: weight, gradient and moments read, three of them written; the gradient norm
EMA_BYTES = 12  # per parameter: two read, one written


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, and what is sent in it."""

    gathered: float
    """Bytes that each process sends in all-gathers of weights (fsdp)."""
    reduced: float
    """Bytes that each process sends so that gradients are averaged."""
    compute_s: float
    """Matrix products."""
    send_s: float
    """All communication."""
    exposed_s: float
    """Communication that nothing is computed behind."""
    optimizer_s: float
    """AdamW and EMA, at the speed of the memory."""

    @property
    def step_s(self) -> float:
        """Seconds of the step."""
        return self.compute_s + self.exposed_s + self.optimizer_s

    @property
    def bound_by(self) -> str:
        """What takes most of it."""
        parts = {
            "computing": self.compute_s,
            "communication": self.exposed_s,
            "the optimizer's memory traffic": self.optimizer_s,
        }
        return max(parts, key=parts.__getitem__)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON."""
        return {**asdict(self), "step_s": self.step_s, "bound_by": self.bound_by}


def step_time(
    cost: StepCost,
    sizes: NetworkSizes,
    setting: Setting,
    *,
    hardware: Hardware,
    dtype: str,
    mfu: float,
) -> StepTime:
    """Estimate the time of one step of all processes."""
    each = hardware.accelerator
    speed = each.peak(dtype) * mfu
    samples = setting.samples * setting.accumulate
    compute = samples * cost.hardware_flops / speed
    gathered, reduced = sent_bytes(cost, sizes, setting)
    send = (gathered + reduced) / (hardware.link * REACHED)
    # FSDP2 fetches the next block while one computes. DDP can send a gradient once it is complete: in the backward
    # pass of the first pass through the encoder, of the last micro-batch.
    hidden = compute if setting.sharded else setting.samples * first_backward(cost) / speed
    traffic = ADAMW_BYTES * setting.held(sizes.trained) + EMA_BYTES * setting.held(sizes.target)
    return StepTime(
        gathered=gathered,
        reduced=reduced,
        compute_s=compute,
        send_s=send,
        exposed_s=max(0.0, send - hidden),
        optimizer_s=traffic / (each.memory_bandwidth * REACHED),
    )


def sent_bytes(cost: StepCost, sizes: NetworkSizes, setting: Setting) -> tuple[float, float]:
    """Return what each process sends in a step: for gathering weights, and for averaging gradients, as rings do.

    ddp averages once, in float32. fsdp gathers every network anew for each of its forward and backward passes, of every
    micro-batch, in the precision of the products. It averages in float32, once; but gradients of several micro-batches
    twice where a network runs more than once: those summed before, and those of the last micro-batch.
    """
    if setting.ranks == 1:
        return 0.0, 0.0
    ring = (setting.ranks - 1) / setting.ranks
    if not setting.sharded:
        return 0.0, ring * 2 * 4 * sizes.trained
    gathered = reduced = 0
    for network, runs in (
        (sizes.encoder, runs_of(cost, predictor=False)),
        (sizes.predictor, runs_of(cost, predictor=True)),
    ):
        learning = sum(one.learns for one in runs)
        gathered += network * (len(runs) + learning)
        reduced += network * (2 if setting.accumulate > 1 and learning > 1 else 1)
    return ring * setting.accumulate * setting.number.product * gathered, ring * 4 * reduced


def runs_of(cost: StepCost, *, predictor: bool) -> list[Pass]:
    """Return the passes through the predictor, or through encoder and target encoder."""
    return [one for one in cost.passes if one.part != "regularity" and (one.part == "predictor") is predictor]


def first_backward(cost: StepCost) -> int:
    """Return the FLOPs of one clip's backward pass through the first of the encoder's passes that learn."""
    first = next(one for one in cost.passes if one.learns and one.part != "predictor")
    return first.hardware_flops - first.forward
