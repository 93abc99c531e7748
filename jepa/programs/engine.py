"""Puts an objective onto its device, and onto all processes that train it: DDP or FSDP2."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from jepa.config.schema import PretrainConfig, TrainingConfig
from jepa.errors import ConfigError
from jepa.models.blocks import Blocks
from jepa.runtime.distributed import Ranks

Forward = Callable[[Any], dict[str, Tensor]]
"""Maps a batch to ``loss`` and health signals."""


def spread_out(objective: nn.Module, config: TrainingConfig, ranks: Ranks) -> Forward:
    """Prepare ``objective``, which is on its device, for the processes that train it; return how to call it.

    Alone, that is the objective itself. ddp averages gradients over the ranks. fsdp replaces, in place, the
    parameters of encoder, predictor and target encoder by shards of them, block by block, so it must come before
    the optimizer. Raises ConfigError where the batch cannot be shared out.
    """
    if ranks.size == 1:
        return objective
    check_shares(config, ranks)
    if config.distributed.engine == "fsdp" and not isinstance(config, PretrainConfig):
        raise ConfigError(
            f"distributed.engine: fsdp shards encoders in pretraining; `jepa {config.program}` takes ddp"
        )
    if config.distributed.engine == "fsdp":
        shard(objective, config)
        return objective
    return DistributedDataParallel(
        objective,
        # torch's static graph cannot wait for the last of several micro-batches (an assertion inside it fails).
        static_graph=not alternates(config) and config.optim.accumulate == 1,
        find_unused_parameters=alternates(config),
        gradient_as_bucket_view=True,
    )


def check_shares(config: TrainingConfig, ranks: Ranks) -> None:
    """Raise ConfigError unless every process gets as many clips as every other, in whole micro-batches."""
    data = getattr(config, "data")  # noqa: B009 - every program has data of its own kind
    groups = data.batch_size // getattr(data, "clips_per_video", 1)
    parts = ranks.size * config.optim.accumulate
    if groups % ranks.size or data.batch_size % parts:
        raise ConfigError(
            f"data.batch_size: {data.batch_size} clips cannot be shared by {ranks.size} processes in "
            f"{config.optim.accumulate} micro-batches each; make it a multiple of {parts}, also after division by "
            "data.clips_per_video"
        )


def alternates(config: TrainingConfig) -> bool:
    """Whether steps use different weights: batches of images and of videos have embeddings of their own."""
    return isinstance(config, PretrainConfig) and config.data.has_video and config.data.has_images


def shard(objective: nn.Module, config: TrainingConfig) -> None:
    """Shard every block, and then what is left, over all ranks; weights stay float32, bfloat16 is for computing."""
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if config.dtype == "bfloat16" else None, reduce_dtype=torch.float32
    )
    for stack in [part for part in objective.modules() if isinstance(part, Blocks)]:
        for block in stack:
            fully_shard(block, mp_policy=policy)
    for part in objective.children():
        if any(True for _ in part.parameters()):
            fully_shard(part, mp_policy=policy, reshard_after_forward=True)
    fully_shard(objective, mp_policy=policy)
