"""The memory of a step, against the bytes of all storages that are alive while it runs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.estimates import estimated_peak, modality_of, peak_bytes, random_batch
from jepa.config.schema import PretrainConfig
from jepa.objectives import build
from jepa.programs.pretrain_step import fresh_state, pretrain_step
from jepa.programs.step_cost import step_cost
from jepa.programs.step_memory import Setting, network_sizes, step_memory, with_checkpointing
from jepa.programs.step_time import sent_bytes
from jepa.runtime.distributed import Ranks
from tests.conftest import tiny_config

RANKS = 8


def config_of(
    kind: str = "vjepa",
    *,
    batch: int = 4,
    accumulate: int = 1,
    dtype: str = "float32",
    recompute: bool = False,
    engine: str = "ddp",
    width: int = 144,
) -> PretrainConfig:
    """A small step on the CPU."""
    data = {**tiny_config(kind).data.model_dump(), "batch_size": batch}
    return tiny_config(
        kind,
        data=data,
        device="cpu",
        dtype=dtype,
        model={
            "size": {"width": width, "depth": 3, "heads": width // 48},
            "patch": 8,
            "checkpoint_activations": recompute,
        },
        predictor={"width": 96, "depth": 2, "heads": 4},
        optim={"steps": 10, "learning_rate": 1e-3, "accumulate": accumulate},
        distributed={"engine": engine},
    )


def setting_of(config: PretrainConfig, ranks: int = 1) -> Setting:
    return Setting.of(config, ranks=ranks, gpu=False)


@pytest.mark.parametrize(
    ("recompute", "dtype"),
    [
        (False, "float32"),
        (True, "bfloat16"),
        pytest.param(True, "float32", marks=pytest.mark.slow),
        pytest.param(False, "bfloat16", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("kind", "batch", "accumulate"),
    [("vjepa", 8, 1), ("vjepa", 2, 2), ("ijepa", 16, 1), ("lejepa", 4, 1)],
)
def test_the_peak_is_the_measured_one(
    kind: str, batch: int, accumulate: int, dtype: str, recompute: bool
) -> None:
    config = config_of(kind, batch=batch, accumulate=accumulate, dtype=dtype, recompute=recompute)
    modality = modality_of(config)
    clips = random_batch(config, modality)
    state = fresh_state(config, torch.device("cpu"))
    estimate = estimated_peak(step_cost(config, modality, clips.masks), state, clips)
    assert estimate == pytest.approx(peak_bytes(state, clips), rel=0.12)


@pytest.fixture
def group() -> Iterator[None]:
    """Eight processes, of which seven are pretended: they send nothing."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=RANKS)
    yield
    dist.destroy_process_group()


class Sent(TorchDispatchMode):
    """Sum what collective operations gather and reduce, in bytes of the whole tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for name in ("allgather", "reduce_scatter"):
            if name in str(operation):
                self.bytes[name] += max(one.nbytes for one in args if isinstance(one, Tensor))
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("accumulate", "dtype"),
    [
        (1, "bfloat16"),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in [(2, "bfloat16"), (3, "float32")]),
    ],
)
def test_sharded_weights_take_and_send_what_is_measured(group: None, accumulate: int, dtype: str) -> None:
    # One clip each for weights that outweigh it: their gradients, whole or sharded, are what is measured.
    config = config_of(
        batch=accumulate * RANKS, accumulate=accumulate, dtype=dtype, recompute=True, engine="fsdp", width=384
    )
    clips = random_batch(config, "video", of=RANKS)
    sizes = network_sizes(build(config))
    state = fresh_state(config, torch.device("cpu"), ranks=Ranks(0, RANKS))
    cost = step_cost(config, "video", clips.masks)
    assert estimated_peak(cost, state, clips, sizes) == pytest.approx(peak_bytes(state, clips), rel=0.12)
    with Sent() as sent:
        pretrain_step(state, clips)
    estimate = sent_bytes(cost, sizes, setting_of(config, RANKS))
    ring = (RANKS - 1) / RANKS
    assert estimate[0] == pytest.approx(ring * sent.bytes["allgather"], rel=0.02)
    assert estimate[1] == pytest.approx(ring * sent.bytes["reduce_scatter"], rel=0.05)


def test_sizes_are_those_of_the_modules() -> None:
    for kind in ("vjepa", "lejepa"):
        objective = build(config_of(kind))
        sizes = network_sizes(objective)
        trained = [p.numel() for p in objective.parameters() if p.requires_grad]
        assert sizes.trained == sum(trained)
        assert sizes.trained + sizes.target == sum(p.numel() for p in objective.parameters())
        assert sizes.encoder_block == sum(p.numel() for p in objective.encoder.blocks[0].parameters())


def test_shards_divide_what_lasts_and_ddp_divides_nothing() -> None:
    sizes, memories = network_sizes(build(config_of())), {}
    for engine in ("ddp", "fsdp"):
        config = config_of(batch=4 * RANKS, engine=engine)
        memories[engine] = asdict(step_memory(step_cost(config, "video"), sizes, setting_of(config, RANKS)))
    for part in ("weights", "target", "moments", "gradients"):
        assert memories["fsdp"][part] == pytest.approx(memories["ddp"][part] / RANKS, rel=1e-4)
    assert memories["fsdp"]["activations"] == memories["ddp"]["activations"]
    assert memories["fsdp"]["peak"] < memories["ddp"]["peak"]


def test_both_ways_of_keeping_activations_are_told_whichever_is_set() -> None:
    sizes = network_sizes(build(config_of()))
    found = []
    for recompute in (False, True):
        config = config_of(recompute=recompute)
        cost = step_cost(config, "video")
        assert with_checkpointing(cost, recompute) == cost
        found.append(step_memory(cost, sizes, setting_of(config)))
    assert found[0].activations == found[0].activations_whole == found[1].activations_whole
    assert found[1].activations == found[1].activations_checkpointed == found[0].activations_checkpointed
    assert found[1].peak < found[0].peak
