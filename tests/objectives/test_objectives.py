"""Contracts that every objective keeps, and each loss typed out by hand."""

import pytest
import torch
import torch.nn.functional as F

from jepa.config.schema import PretrainConfig
from jepa.masks import sample_masks
from jepa.objectives import OBJECTIVES, build
from jepa.objectives.base import spread
from jepa.objectives.lejepa import sigreg
from jepa.types import Batch, Masks
from tests.conftest import tiny_config

CASES = [("vjepa", False), ("ijepa", True), ("joint", False), ("joint", True), ("lejepa", False)]


def make(kind: str, image: bool, seed: int = 0) -> tuple[PretrainConfig, torch.nn.Module, Batch]:
    torch.manual_seed(seed)
    config = tiny_config(kind)
    objective = build(config).train()
    clip = torch.randn(4, 3, 1, 64, 64) if image else torch.randn(4, 3, 8, 32, 32)
    grid = objective.encoder.grid(clip.shape)
    masks = sample_masks(config.masks, grid, 4, image=image, generator=torch.Generator().manual_seed(seed))
    return config, objective, Batch(clip, masks)


def test_every_objective_is_covered() -> None:
    assert {kind for kind, _ in CASES} == set(OBJECTIVES)


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_every_parameter_learns(kind: str) -> None:
    """Over the batches an objective is made for, every trainable parameter receives a gradient."""
    reached: set[str] = set()
    for case, image in CASES:
        if case == kind:
            _, objective, batch = make(kind, image)
            # Zero mask tokens and biases still get gradients; identical ones would not differ by row.
            objective(batch)["loss"].backward()
            named = dict(objective.named_parameters())
            reached |= {name for name, p in named.items() if p.grad is not None and p.grad.any()}
            tokens = objective.predictor.mask_tokens.grad
            rows = [f"row {i}" for i in range(len(tokens)) if tokens[i].any()]
            reached |= set(rows)
    wanted = {name for name, p in named.items() if p.requires_grad} | {f"row {i}" for i in range(len(tokens))}
    assert not wanted - reached, f"no gradient reaches {sorted(wanted - reached)}"


@pytest.mark.parametrize(("kind", "image"), CASES)
def test_target_encoder_never_receives_a_gradient(kind: str, image: bool) -> None:
    _, objective, batch = make(kind, image)
    signals = objective(batch)
    signals["loss"].backward()
    if objective.probed is not objective.encoder:
        assert all(p.grad is None and not p.requires_grad for p in objective.target_encoder.parameters())
    assert [name for name, value in signals.items() if value.requires_grad] == ["loss"]


@pytest.mark.parametrize(("kind", "image"), CASES)
def test_hidden_pixels_do_not_leak_into_predictions(kind: str, image: bool) -> None:
    """With targets held fixed, changing every pixel that no context token covers leaves the loss alone."""
    _, objective, batch = make(kind, image)
    objective.eval()
    patch, tubelet = 8, 1 if image else 2
    grid = objective.encoder.grid(batch.clip.shape)
    seen = (
        torch.zeros(4, grid.tokens, dtype=torch.bool)
        .scatter_(1, batch.masks[0].context, True)
        .view(4, 1, *grid)
    )
    pixels = seen.repeat_interleave(tubelet, 2).repeat_interleave(patch, 3).repeat_interleave(patch, 4)
    other = torch.where(pixels, batch.clip, torch.randn_like(batch.clip))
    masks = batch.masks[0]

    def predict(clip: torch.Tensor) -> torch.Tensor:
        return objective.predictor(objective.encoder(clip, keep=masks.context), masks, grid)

    torch.testing.assert_close(predict(batch.clip), predict(other), atol=0, rtol=0)
    assert not torch.equal(objective.probed(batch.clip), objective.probed(other))


@pytest.mark.parametrize("loss", ["l1", "l2", "smooth_l1"])
def test_vjepa_loss_by_hand(loss: str) -> None:
    """Equation 1 of the paper with its masks, one sample and one target token at a time."""
    config = tiny_config("vjepa", objective={"kind": "vjepa", "loss": loss})
    _, _, batch = make("vjepa", False)
    torch.manual_seed(3)
    objective = build(config).eval()
    for p in objective.target_encoder.parameters():  # so that target and encoder are told apart
        p.data.mul_(1.3).add_(0.01)
    grid = objective.encoder.grid(batch.clip.shape)
    target = objective.target_encoder(batch.clip)
    target = (target - target.mean(-1, keepdim=True)) / (
        target.var(-1, unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    patterns = []
    for number, masks in enumerate(batch.masks):
        predicted = objective.predictor(objective.encoder(batch.clip, masks.context), masks, grid, number)
        terms = []
        for b in range(4):
            for m, token in enumerate(masks.target[b].tolist()):
                d = (predicted[b, m] - target[b, token]).abs()
                small = torch.where(d < 1, d * d / 2, d - 0.5)
                terms.append({"l1": d, "l2": d * d, "smooth_l1": small}[loss].mean())
        patterns.append(sum(terms) / len(terms))
    torch.testing.assert_close(objective(batch)["loss"], sum(patterns) / len(patterns), atol=1e-5, rtol=1e-5)


def test_ijepa_predicts_each_block_alone() -> None:
    """Taking one target block away leaves the losses of the others as they were."""
    _, objective, batch = make("ijepa", True)
    objective.eval()
    each = [objective(Batch(batch.clip, (block,)))["loss"].item() for block in batch.masks]
    assert objective(batch)["loss"].item() == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_joint_is_vjepa_on_video_and_ijepa_on_images() -> None:
    _, joint, video = make("joint", False)
    _, _, image = make("joint", True)
    joint.eval()
    weights = joint.state_dict()
    vjepa = build(tiny_config("vjepa")).eval()
    vjepa.load_state_dict(
        {
            k: v[:2] if k == "predictor.mask_tokens" else v
            for k, v in weights.items()
            if "patch_embed_image" not in k
        }
    )
    torch.testing.assert_close(joint(video)["loss"], vjepa(video)["loss"])
    ijepa = build(tiny_config("ijepa")).eval()
    ijepa.load_state_dict(
        {
            k: v[2:] if k == "predictor.mask_tokens" else v
            for k, v in weights.items()
            if "patch_embed." not in k
        }
    )
    torch.testing.assert_close(joint(image)["loss"], ijepa(image)["loss"])


def test_momentum_one_is_the_identity_and_zero_a_copy() -> None:
    _, objective, _ = make("vjepa", False)
    for p in objective.encoder.parameters():
        p.data.add_(1.0)
    before = [p.clone() for p in objective.target_encoder.parameters()]
    objective.update_target(1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, objective.target_encoder.parameters(), strict=True))
    objective.update_target(0.75)
    for old, new, fast in zip(
        before, objective.target_encoder.parameters(), objective.encoder.parameters(), strict=True
    ):
        torch.testing.assert_close(new.data, 0.75 * old + 0.25 * fast.data)
    objective.update_target(0.0)
    pairs = zip(objective.target_encoder.parameters(), objective.encoder.parameters(), strict=True)
    assert all(torch.equal(slow, fast) for slow, fast in pairs)


def test_target_encoder_does_not_drop_paths_while_training() -> None:
    config = tiny_config("vjepa", model={"size": "nano", "patch": 8, "drop_path": 0.9})
    objective = build(config).train()
    clip = torch.randn(2, 3, 8, 32, 32)
    torch.testing.assert_close(objective.targets(clip), objective.targets(clip), atol=0, rtol=0)


def test_sigreg_by_hand() -> None:
    """The Epps-Pulley integral with the paper's 17 knots on [-5, 5], typed out over complex numbers."""
    torch.manual_seed(0)
    x = torch.randn(50, 6) * 1.5 + 0.3
    torch.manual_seed(1)
    ours = sigreg(x, 7)
    torch.manual_seed(1)
    directions = torch.randn(6, 7)
    t = torch.linspace(-5, 5, 17)
    statistics = []
    for k in range(7):
        along = x @ (directions[:, k] / directions[:, k].norm())
        empirical = torch.exp(1j * along[:, None] * t).mean(0)
        integrand = (empirical - torch.exp(-t * t / 2)).abs() ** 2 * torch.exp(-t * t / 2)
        statistics.append(50 * torch.trapezoid(integrand, t))
    torch.testing.assert_close(ours, torch.stack(statistics).mean(), atol=1e-4, rtol=1e-4)


def test_sigreg_is_least_for_a_standard_normal() -> None:
    torch.manual_seed(0)
    normal = torch.randn(512, 16)
    best = sigreg(normal, 64)
    for wrong in (normal * 3, normal + 1, torch.zeros_like(normal), normal[:, :1].expand(-1, 16)):
        assert sigreg(wrong, 64) > 1.5 * best


def test_samples_do_not_mix_in_vjepa() -> None:
    """The loss of a batch is the mean of the losses of its samples."""
    _, objective, batch = make("vjepa", False)
    objective.eval()
    alone = []
    for i in range(4):
        row = slice(i, i + 1)
        masks = tuple(Masks(m.context[row], m.target[row]) for m in batch.masks)
        alone.append(objective(Batch(batch.clip[row], masks))["loss"].item())
    assert objective(batch)["loss"].item() == pytest.approx(sum(alone) / 4, rel=1e-5)


def test_gradients_reach_the_context_through_lejepas_targets() -> None:
    """There is no stop-gradient: the target branch alone moves the encoder."""
    _, objective, batch = make("lejepa", False)
    grid = objective.encoder.grid(batch.clip.shape)
    masks = batch.masks[0]
    targets = objective.encoder(batch.clip)
    with torch.no_grad():
        predicted = objective.predictor(objective.encoder(batch.clip, masks.context), masks, grid)
    F.mse_loss(
        predicted, targets.gather(1, masks.target.unsqueeze(-1).expand(-1, -1, targets.shape[-1]))
    ).backward()
    assert objective.encoder.patch_embed.weight.grad.any()


def test_spread_is_over_samples_not_over_channels() -> None:
    assert spread(torch.arange(6.0).expand(10, 6)) == 0
    assert spread(torch.tensor([[-1.0], [1.0]]).expand(2, 6)).item() == pytest.approx(2**0.5)
