"""Costs counted from shapes, against torch's own counters."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from jepa.models.cost import count_parameters
from jepa.objectives import build
from jepa.programs.masking import masks_for
from jepa.programs.show import step_cost
from jepa.runtime.seeding import generator
from jepa.types import Batch
from tests.conftest import tiny_config

CASES = [("vjepa", "video"), ("ijepa", "image"), ("joint", "image"), ("lejepa", "video")]


def run_once(kind: str, modality: str) -> tuple[float, float, object]:
    """Return (FLOPs, bytes kept for backward) of a real step, and the estimate."""
    config = tiny_config(
        kind, model={"size": "mini", "patch": 8}, predictor={"width": 96, "depth": 3, "heads": 4}
    )
    if modality == "image":
        data = {**config.data.model_dump(), "resolution": 96}
        config = tiny_config(
            kind,
            model={"size": "mini", "patch": 8},
            predictor={"width": 96, "depth": 3, "heads": 4},
            data=data,
        )
    side = config.data.resolution
    clip = torch.randn(4, 3, 1 if modality == "image" else 8, side, side)
    batch = Batch(clip, masks_for(config, modality, 4, generator(config.seed, "masks", 0)))
    objective = build(config)
    weights = {p.untyped_storage().data_ptr() for p in objective.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
    ):
        loss = objective(batch)["loss"]
        memory = sum(kept.values())
        loss.backward()
    return counter.get_total_flops(), memory, step_cost(config, modality)


@pytest.mark.parametrize(("kind", "modality"), CASES)
def test_flops_equal_torchs_counter_within_two_percent(kind: str, modality: str) -> None:
    flops, _, estimate = run_once(kind, modality)
    assert estimate.flops == pytest.approx(flops, rel=0.02)


@pytest.mark.parametrize(("kind", "modality"), CASES)
def test_activation_memory_is_within_fifteen_percent(kind: str, modality: str) -> None:
    _, memory, estimate = run_once(kind, modality)
    assert estimate.activations_bytes == pytest.approx(memory, rel=0.15)


def test_parameters_are_counted_on_the_meta_device_as_on_the_real_one() -> None:
    config = tiny_config("vjepa")
    with torch.device("meta"):
        meta = count_parameters(build(config))
    real = build(config)
    assert meta == count_parameters(real)
    assert meta.trained == sum(p.numel() for p in real.parameters() if p.requires_grad)
    assert meta.frozen == sum(p.numel() for p in real.target_encoder.parameters())
