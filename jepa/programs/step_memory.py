"""The memory of one training step on one GPU, by part, and where in the step it is largest."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

from jepa.config.schema import PretrainConfig
from jepa.models.cost import NumberBytes
from jepa.objectives import Objective
from jepa.objectives.ema import EmaObjective
from jepa.programs.step_cost import Pass, StepCost


class NetworkSizes(NamedTuple):
    """Parameters, by network."""

    encoder: int
    predictor: int
    target: int
    """The EMA copy of the encoder; 0 where the objective has none."""
    encoder_block: int
    """One block of the encoder."""
    outside: int
    """What lies outside the blocks of encoder and predictor."""

    @property
    def trained(self) -> int:
        """Parameters that the optimizer changes."""
        return self.encoder + self.predictor

    def of(self, one: Pass) -> int:
        """Return the parameters that a pass trains."""
        if not one.learns or one.part == "regularity":
            return 0
        return self.predictor if one.part == "predictor" else self.encoder


def network_sizes(objective: Objective) -> NetworkSizes:
    """Count the parameters of an objective, which may be on the meta device."""
    networks = (objective.encoder, objective.predictor)
    encoder, predictor = (sum(p.numel() for p in one.parameters()) for one in networks)
    blocks = [sum(p.numel() for p in one.blocks.parameters()) for one in networks]
    return NetworkSizes(
        encoder,
        predictor,
        encoder if isinstance(objective, EmaObjective) else 0,
        blocks[0] // len(objective.encoder.blocks),
        encoder + predictor - sum(blocks),
    )


@dataclass(frozen=True)
class StepMemory:
    """Bytes on one GPU while it trains. Not all parts are at their largest at once, see `peak`."""

    weights: int
    """Trained weights in float32, or this process's shard of them."""
    target: int
    """The EMA target encoder."""
    moments: int
    """AdamW's two."""
    gradients: int
    """In float32; with fsdp and several micro-batches the whole ones of all but the last, beside the shard."""
    copies: int
    """bfloat16 copies of weights that autocast keeps; with fsdp the weights that are gathered at one time."""
    clips: int
    """The micro-batch."""
    activations: int
    """What the forward pass keeps for the backward pass."""
    passing: int
    """What comes and goes in the backward pass of one block, the largest."""
    peak: int
    """The largest sum of all of them at one time."""
    activations_whole: int
    """As `activations`, without checkpointing."""
    activations_checkpointed: int
    """As `activations`, with checkpointing."""


@dataclass(frozen=True)
class Setting:
    """How a step's work lies on the processes."""

    samples: int
    """Clips of one micro-batch of one process."""
    ranks: int
    number: NumberBytes
    sharded: bool
    accumulate: int
    """Micro-batches whose gradients are summed."""

    @classmethod
    def of(cls, config: PretrainConfig, *, ranks: int, gpu: bool) -> "Setting":
        """Return the setting of a run of ``config`` by so many processes."""
        return cls(
            samples=max(1, config.data.batch_size // (ranks * config.optim.accumulate)),
            ranks=ranks,
            number=NumberBytes.of(config.dtype, gpu=gpu),
            sharded=ranks > 1 and config.distributed.engine == "fsdp",
            accumulate=config.optim.accumulate,
        )

    @property
    def spread(self) -> bool:
        """Whether every process holds all weights, and DDP all gradients, from step to step."""
        return self.ranks > 1 and not self.sharded

    def held(self, parameters: int) -> int:
        """Return how many of ``parameters`` this process holds."""
        return -(-parameters // self.ranks) if self.sharded else parameters


def step_memory(cost: StepCost, sizes: NetworkSizes, setting: Setting) -> StepMemory:
    """Estimate the memory of one process."""
    number, samples = setting.number, setting.samples
    weights = 4 * setting.held(sizes.trained)
    target = 4 * setting.held(sizes.target)
    before = _gradients_before(sizes, setting)
    moments = 8 * setting.held(sizes.trained)
    clips = 4 * cost.pixels * samples
    learning = [one for one in cost.passes if one.learns]
    return StepMemory(
        weights=weights,
        target=target,
        moments=moments,
        gradients=max(before, 4 * setting.held(sizes.trained)),
        copies=_copies(sizes, setting),
        clips=clips,
        activations=cost.kept(number, samples),
        passing=max(one.passing(number, samples) for one in learning),
        peak=weights + target + moments + before + clips + _largest(cost, sizes, setting),
        activations_whole=with_checkpointing(cost, False).kept(number, samples),
        activations_checkpointed=with_checkpointing(cost, True).kept(number, samples),
    )


def with_checkpointing(cost: StepCost, on: bool) -> StepCost:
    """Return the cost with activation checkpointing of the encoder switched on or off."""
    return replace(
        cost,
        passes=tuple(replace(one, recompute=on and one.part in ("context", "target")) for one in cost.passes),
    )


def _gradients_before(sizes: NetworkSizes, setting: Setting) -> int:
    """Return the bytes of gradients that are there before the last micro-batch: DDP's buckets, and partial sums.

    FSDP2 sums the whole gradients of all micro-batches but the last in float32, before they are sent and sharded.
    """
    if setting.accumulate > 1 or setting.spread:
        return 4 * sizes.trained
    return 0


def _copies(sizes: NetworkSizes, setting: Setting) -> int:
    """Return the bytes of weights in the precision of the products, beside the float32 ones."""
    if setting.sharded:  # the block at work and the one that is fetched meanwhile
        return setting.number.product * (2 * sizes.encoder_block + sizes.outside)
    return setting.number.product * sizes.trained if setting.number.copies else 0


def _largest(cost: StepCost, sizes: NetworkSizes, setting: Setting) -> int:
    """Walk through forward and backward pass, and return the largest sum of what changes on the way.

    Gradients of a network that runs several times are summed in the precision of the products until the backward pass
    of the first of its passes, which is the last to run: only then is its gradient complete (torch's engine).
    """
    number, samples = setting.number, setting.samples
    learning = [one for one in cost.passes if one.learns]
    left = Counter(sizes.of(one) for one in learning)
    copies = _copies(sizes, setting)
    now = cost.kept(number, samples) + copies
    top = (
        now + (4 if number.norm == 4 else number.product) * samples * cost.tokens * cost.passes[0].stack.width
    )
    if (
        cost.passes[-1].part != "regularity"
        and any(one.recompute for one in learning)
        and not setting.sharded
    ):
        now -= copies * sizes.encoder // sizes.trained  # autocast's cache ends with the forward pass
    begun: set[int] = set()
    for one in reversed(learning):
        network = sizes.of(one)
        top = max(top, now + one.passing(number, samples))
        now -= one.kept(number, samples)
        if network and network not in begun:
            begun.add(network)
            now += number.product * network
            # The sums of the micro-batches before the last are sent, and freed, when the last one's begin.
            now -= 4 * network if setting.sharded and setting.accumulate == 2 else 0
        left[network] -= 1
        # A block's whole gradients are copied to float32 before they are sent and sharded.
        sending = 4 * sizes.encoder_block if setting.sharded else 0
        top = max(top, now + one.passing(number, samples) + sending)
        if network and not left[network]:
            is_new = setting.accumulate == 1 and not setting.spread
            now += (4 * setting.held(network) if is_new else 0) - number.product * network
            top = max(top, now)
    return top
