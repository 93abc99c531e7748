"""FLOPs and activations of a step, against torch's own counters."""

import pytest

from benchmarks.estimates import counted_flops, kept_bytes, kept_copies, random_batch
from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.models.cost import NumberBytes
from jepa.objectives import build
from jepa.programs.step_cost import StepCost, step_cost, typical_costs
from tests.conftest import tiny_config

CASES: list[tuple[str, Modality]] = [
    ("vjepa", "video"),
    ("ijepa", "image"),
    ("joint", "image"),
    ("joint", "video"),
    ("lejepa", "video"),
]
POSITIONS = ("rotary", "sincos", "sincos-2d")


def small(kind: str, dtype: str = "float32", **model: object) -> PretrainConfig:
    """An objective on a network that is small, but whose linear layers outweigh its edges."""
    return tiny_config(
        kind,
        dtype=dtype,
        model={"size": {"width": 144, "depth": 3, "heads": 3}, "patch": 8, **model},
        predictor={"width": 96, "depth": 2, "heads": 4},
    )


def estimated(config: PretrainConfig, modality: Modality) -> StepCost:
    return step_cost(config, modality, random_batch(config, modality).masks)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("kind", "modality"), CASES)
def test_flops_equal_torchs_counter(kind: str, modality: Modality, positions: str) -> None:
    config = small(kind, positions=positions)
    batch, cost = random_batch(config, modality), estimated(config, modality)
    # As plain matrix products, forward and twice that backward; and as run, where fused attention repeats one.
    plain = counted_flops(build(config), batch, config, fused=False)
    fused = counted_flops(build(config), batch, config, fused=True)
    assert 4 * cost.model_flops == pytest.approx(plain, rel=0.001)
    assert 4 * cost.hardware_flops == pytest.approx(fused, rel=0.001)
    assert fused > plain


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "modality"), [("vjepa", "video"), ("ijepa", "image"), ("lejepa", "video")])
def test_what_checkpointing_repeats_is_counted(kind: str, modality: Modality, dtype: str) -> None:
    config = small(kind, dtype, checkpoint_activations=True)
    batch, cost = random_batch(config, modality), estimated(config, modality)
    counted = counted_flops(build(config), batch, config, fused=True)
    assert 4 * cost.hardware_flops == pytest.approx(counted, rel=0.001)
    assert cost.model_flops == estimated(small(kind, dtype), modality).model_flops


@pytest.mark.parametrize("positions", POSITIONS[:2])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "modality"), CASES[:2] + CASES[4:])
def test_activations_are_what_autograd_keeps(
    kind: str, modality: Modality, dtype: str, recompute: bool, positions: str
) -> None:
    config = small(kind, dtype, checkpoint_activations=recompute, positions=positions)
    objective, batch = build(config), random_batch(config, modality)
    kept = estimated(config, modality).kept(NumberBytes.of(dtype, gpu=False), 4)
    measured = kept_bytes(objective, batch, config)
    assert kept + kept_copies(config, objective) == pytest.approx(measured, rel=0.06)


def test_parts_sum_to_the_whole() -> None:
    cost = estimated(small("lejepa"), "video")
    parts = [cost.part(part) for part in ("context", "target", "predictor", "regularity")]
    assert all(parts)
    assert sum(parts) == cost.hardware_flops


def test_a_target_encoder_is_run_once_and_a_trained_one_three_times() -> None:
    frozen, trained = (estimated(small(kind), "video").passes[0] for kind in ("vjepa", "lejepa"))
    assert (frozen.part, trained.part) == ("target", "target")
    assert frozen.model_flops == frozen.forward
    assert trained.model_flops == 3 * trained.forward - trained.embedding  # pixels need no gradient
    assert frozen.kept(NumberBytes.of("float32", gpu=True), 4) == 0


def test_a_typical_step_is_no_larger_than_the_largest() -> None:
    typical, largest = typical_costs(small("vjepa"), "video")
    assert typical.hardware_flops <= largest.hardware_flops
