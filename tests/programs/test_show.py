"""Costs counted from shapes, against torch's own counters."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jepa.models.cost import count_parameters
from jepa.objectives import Objective, build
from jepa.programs.masking import masks_for
from jepa.programs.show import StepCost, step_cost
from jepa.runtime.seeding import generator
from jepa.types import Batch
from tests.conftest import tiny_config

CASES = [("vjepa", "video"), ("ijepa", "image"), ("joint", "image"), ("lejepa", "video")]


def one_step(kind: str, modality: str) -> tuple[Objective, Batch, StepCost]:
    """Build an objective, a batch for it, and the estimate of its step."""
    shape = {"model": {"size": "mini", "patch": 8}, "predictor": {"width": 96, "depth": 3, "heads": 4}}
    config = tiny_config(kind, **shape)
    if modality == "image":
        config = tiny_config(kind, data={**config.data.model_dump(), "resolution": 96}, **shape)
    side = config.data.resolution
    clip = torch.randn(4, 3, 1 if modality == "image" else 8, side, side)
    batch = Batch(clip, masks_for(config, modality, 4, generator(config.seed, "masks", 0)))
    return build(config), batch, step_cost(config, modality)


@pytest.mark.parametrize(("kind", "modality"), CASES)
def test_flops_equal_torchs_counter_within_two_percent(kind: str, modality: str) -> None:
    objective, batch, estimate = one_step(kind, modality)
    # As plain matrix products, since older versions of torch do not count the CPU's fused attention.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        objective(batch)["loss"].backward()
    assert estimate.flops == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize(("kind", "modality"), CASES)
def test_activation_memory_is_within_fifteen_percent(kind: str, modality: str) -> None:
    objective, batch, estimate = one_step(kind, modality)
    weights = {p.untyped_storage().data_ptr() for p in objective.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = objective(batch)["loss"]
    assert loss.requires_grad
    assert estimate.activations_bytes == pytest.approx(sum(kept.values()), rel=0.15)


def test_parameters_are_counted_on_the_meta_device_as_on_the_real_one() -> None:
    config = tiny_config("vjepa")
    with torch.device("meta"):
        meta = count_parameters(build(config))
    real = build(config)
    assert meta == count_parameters(real)
    assert meta.trained == sum(p.numel() for p in real.parameters() if p.requires_grad)
    assert meta.frozen == sum(p.numel() for p in real.target_encoder.parameters())
