"""Knowing before paying: what a pre-training run will take on given hardware, from formulas."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from jepa.config.data import is_images
from jepa.config.hardware import Hardware
from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.errors import ConfigError
from jepa.models.cost import NumberBytes
from jepa.objectives import build
from jepa.programs.engine import check_shares
from jepa.programs.step_cost import PARTS, StepCost, typical_costs
from jepa.programs.step_memory import (
    NetworkSizes,
    Setting,
    StepMemory,
    network_sizes,
    step_memory,
    with_checkpointing,
)
from jepa.programs.step_time import StepTime, step_time
from jepa.runtime.distributed import Ranks

MFU = 0.4  # share of the peak that the matrix products of large ViTs reach, all delays of the GPU among them
DECODED = 16.0  # clips of 16 frames per second and process: PyAV, 320 x 240 pixels, one key frame in 12


@dataclass(frozen=True)
class StepEstimate:
    """A step on clips of one modality."""

    share: float
    """Part of the run's steps."""
    cost: StepCost
    memory: StepMemory
    time: StepTime
    number: NumberBytes

    def to_dict(self, batch: int) -> dict[str, Any]:
        """Return all numbers; FLOPs are those of the whole batch."""
        cost = self.cost
        return {
            "modality": cost.modality,
            "share": self.share,
            "tokens": cost.tokens,
            "context_tokens": list(cost.context_tokens),
            "target_tokens": list(cost.target_tokens),
            "model_flops": batch * cost.model_flops,
            "hardware_flops": batch * cost.hardware_flops,
            "hardware_flops_by_part": {part: batch * cost.part(part) for part in PARTS},
            "memory_bytes": asdict(self.memory),
            **self.time.to_dict(),
        }


@dataclass(frozen=True)
class Estimate:
    """What a run will take."""

    config: PretrainConfig
    """As estimated; `notes` say what was changed."""
    hardware: Hardware
    mfu: float
    sizes: NetworkSizes
    setting: Setting
    steps: tuple[StepEstimate, ...]
    """One per modality."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def step_s(self) -> float:
        """Seconds per step, averaged over the modalities."""
        return sum(step.share * step.time.step_s for step in self.steps)

    @property
    def clips_per_s(self) -> float:
        """Clips per second of all processes."""
        return self.config.data.batch_size / self.step_s

    @property
    def days(self) -> float:
        """Days until the last step, without pauses."""
        return self.config.optim.steps * self.step_s / 86400

    @property
    def gpu_hours(self) -> float:
        """Hours of one accelerator."""
        return 24 * self.days * self.hardware.count

    @property
    def achieved_mfu(self) -> float:
        """FLOPs that any implementation must do over those that the hardware could do in the time."""
        done = sum(step.share * step.cost.model_flops for step in self.steps) * self.config.data.batch_size
        peak = self.hardware.accelerator.peak(self.config.dtype) * self.hardware.count
        return done / (peak * self.step_s)

    @property
    def peak_memory(self) -> int:
        """Bytes on one accelerator at the most."""
        return max(step.memory.peak for step in self.steps)

    @property
    def decoders(self) -> float:
        """Processes per accelerator that decode clips as fast as it takes them; 0 for images alone."""
        videos = sum(step.share for step in self.steps if step.cost.modality == "video")
        longer = self.config.data.frames_per_clip / 16
        return videos * longer * self.clips_per_s / self.hardware.count / DECODED

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON."""
        derived = ("step_s", "clips_per_s", "days", "gpu_hours", "achieved_mfu", "peak_memory", "decoders")
        sizes, config = self.sizes, self.config
        return {
            "hardware": {
                "name": self.hardware.name,
                "count": self.hardware.count,
                "machines": self.hardware.machines,
                **asdict(self.hardware.accelerator),
            },
            "assumed_mfu": self.mfu,
            "setting": {
                "batch_size": config.data.batch_size,
                "micro_batch": self.setting.samples,
                "accumulate": config.optim.accumulate,
                "engine": config.distributed.engine if self.hardware.count > 1 else None,
                "dtype": config.dtype,
                "checkpoint_activations": config.model.checkpoint_activations,
                "steps": config.optim.steps,
            },
            "parameters": {
                "encoder": sizes.encoder,
                "predictor": sizes.predictor,
                "target": sizes.target,
                "trained": sizes.trained,
            },
            "steps": [step.to_dict(config.data.batch_size) for step in self.steps],
            **{name: getattr(self, name) for name in derived},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def estimate(config: PretrainConfig, hardware: Hardware, mfu: float = MFU) -> Estimate:
    """Estimate a run of ``config``; nothing of its data is read.

    ``mfu`` is the share of the accelerator's peak at which matrix products run, in (0, 1].
    Raises ConfigError where the batch cannot be shared out, and for another ``mfu``.
    """
    if not 0 < mfu <= 1:
        raise ConfigError(f"--mfu {mfu} must be above 0 and at most 1: a share of the accelerator's peak")
    config, notes = shared_out(config, hardware.count)
    with torch.device("meta"):
        sizes = network_sizes(build(config))
    setting = Setting.of(config, ranks=hardware.count, gpu=hardware.name != "cpu")
    steps, largest = [], []
    for modality, share in shares(config):
        typical, most = typical_costs(config, modality)
        memory = step_memory(most, sizes, setting)
        time = step_time(typical, sizes, setting, hardware=hardware, dtype=config.dtype, mfu=mfu)
        steps.append(StepEstimate(share, typical, memory, time, setting.number))
        largest.append(most)
    warnings = list(_memory_warnings(config, hardware, sizes, largest))
    if config.model.checkpoint_activations and not warnings:
        plain = max(step_memory(with_checkpointing(c, False), sizes, setting).peak for c in largest)
        if plain <= hardware.accelerator.memory:
            notes.append(
                f"without checkpointing it would take {gib(plain)} and fit: set model.checkpoint_activations: false"
            )
    return Estimate(config, hardware, mfu, sizes, setting, tuple(steps), tuple(warnings), tuple(notes))


def shared_out(config: PretrainConfig, ranks: int) -> tuple[PretrainConfig, list[str]]:
    """Return a config whose batch ``ranks`` processes can share, and a note where `accumulate` had to change.

    It becomes the smallest that keeps micro-batches no larger than they were. Raises ConfigError where there is none.
    """
    batch, asked = config.data.batch_size, config.optim.accumulate
    groups = batch // config.data.clips_per_video
    if batch % (ranks * asked) == 0 and groups % ranks == 0:
        return config, []
    fitting = [
        a for a in range(1, asked + 1) if batch % (ranks * a) == 0 and batch // (ranks * a) <= batch // asked
    ]
    if not fitting or groups % ranks:
        check_shares(config, Ranks(size=ranks))
    optim = config.optim.model_copy(update={"accumulate": fitting[0]})
    note = (
        f"{batch:,} clips do not divide into {ranks:,} processes x {asked:,} micro-batches; estimated with "
        f"optim.accumulate: {fitting[0]}, {batch // (ranks * fitting[0]):,} clips each; set it so"
    )
    return config.model_copy(update={"optim": optim}), [note]


def shares(config: PretrainConfig) -> list[tuple[Modality, float]]:
    """Return the modalities of a run's batches, with their parts of the steps."""
    data = config.data
    if not data.has_images:
        return [("video", 1.0)]
    if not data.has_video:
        return [("image", 1.0)]
    weights = {of: sum(s.weight for s in data.sources if is_images(s) is of) for of in (True, False)}
    images = weights[True] / sum(weights.values()) if data.image_fraction is None else data.image_fraction
    return [("video", 1 - images), ("image", images)]


def _memory_warnings(
    config: PretrainConfig, hardware: Hardware, sizes: NetworkSizes, costs: list[StepCost]
) -> Iterator[str]:
    """Say that a step does not fit, and the least change that makes it fit."""
    room = hardware.accelerator.memory

    def needed(one: PretrainConfig) -> int:
        setting = Setting.of(one, ranks=hardware.count, gpu=hardware.name != "cpu")
        changed = [with_checkpointing(cost, one.model.checkpoint_activations) for cost in costs]
        return max(step_memory(cost, sizes, setting).peak for cost in changed)

    now = needed(config)
    if now <= room:
        return
    text = f"a step takes about {gib(now)} of {gib(room)} per {hardware.name}"
    for words, changed in remedies(config, hardware.count):
        if (then := needed(changed)) <= room:
            yield f"{text}: it will not fit; set {words}, which takes {gib(then)}"
            return
    yield f"{text}: it will not fit, nor would it with any engine, checkpointing and accumulation; use more, or larger"


def remedies(config: PretrainConfig, ranks: int) -> Iterator[tuple[str, PretrainConfig]]:
    """Yield changes that lower memory, the cheapest in time first, as (what to set, the config)."""
    checkpointed = config.model.model_copy(update={"checkpoint_activations": True})
    fsdp = config.distributed.model_copy(update={"engine": "fsdp"})
    batch = config.data.batch_size
    for sharded in (False, True) if ranks > 1 and config.distributed.engine == "ddp" else (False,):
        for recompute in (False, True) if not config.model.checkpoint_activations else (False,):
            for micro in range(batch // (ranks * config.optim.accumulate), 0, -1):
                if batch % (ranks * micro):
                    continue
                parts = batch // (ranks * micro)
                words = ["distributed.engine: fsdp"] * sharded
                words += ["model.checkpoint_activations: true"] * recompute
                words += [f"optim.accumulate: {parts}"] * (parts != config.optim.accumulate)
                update: dict[str, object] = {
                    "optim": config.optim.model_copy(update={"accumulate": parts}),
                    "model": checkpointed if recompute else config.model,
                    "distributed": fsdp if sharded else config.distributed,
                }
                yield ", ".join(words), config.model_copy(update=update)


def gib(count: float) -> str:
    """Return bytes as MiB or GiB."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
