"""LeWM's loss typed out by hand, and what keeps it from collapsing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jepa.types import Windows


def epps_pulley(x: np.ndarray) -> float:
    """n times the integral of |empirical - normal characteristic function|^2 exp(-t^2 / 2), in closed form."""
    n = len(x)
    squared = np.sqrt(2 * np.pi) * np.exp(-((x[:, None] - x) ** 2) / 2).sum() / n**2
    mixed = np.sqrt(np.pi) * np.exp(-(x**2) / 4).sum() / n
    return n * (squared - 2 * mixed + np.sqrt(2 * np.pi / 3))


def test_sigreg_tests_every_time_step_alone(make):
    """Prediction + weight * the mean statistic over time steps and directions."""
    objective, batch = make("lewm", rollout_steps=0, inverse_weight=0.0)
    torch.manual_seed(5)
    signals = objective(batch)
    torch.manual_seed(5)
    directions = F.normalize(torch.randn(6, 8), dim=0).double().numpy()
    with torch.no_grad():
        latents = objective.world_model.frames(batch.frames)
        predicted = objective.world_model.predict(latents[:, :5], batch.actions)
    z = latents[:, :, 0].double().numpy()
    statistic = np.mean([epps_pulley(z[:, t] @ d) for t in range(6) for d in directions.T])
    error = ((predicted[:, :, 0].double().numpy() - z[:, 1:]) ** 2).mean()
    assert signals["prediction_loss"].item() == pytest.approx(error, rel=1e-4)
    assert signals["sigreg"].item() == pytest.approx(statistic, rel=2e-3)
    assert signals["loss"].item() == pytest.approx(error + 0.09 * statistic, rel=2e-3)


def test_targets_learn_too(make):
    """No stop-gradient: the encoder's gradient is that of both sides of the squared error."""
    objective, batch = make("lewm", sigreg_weight=0.0, rollout_steps=2, inverse_weight=0.0)
    model = objective.world_model
    weights = list(model.frames.parameters())
    found = torch.autograd.grad(objective(batch)["loss"], weights)
    z = model.frames(batch.frames)
    forced, imagined = model.predict(z[:, :5], batch.actions), model.rollout(z[:, :1], batch.actions[:, :2])
    loss = (forced - z[:, 1:]).square().mean() + 0.7 * (imagined - z[:, 1:3]).square().mean()
    for one, other in zip(found, torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_inverse_dynamics_are_asked_for_normalised_actions(make):
    objective, batch = make("lewm")
    z = objective.encode(batch)
    mean, std = torch.tensor([0.2, -0.1, 0.2, -0.1]), torch.tensor([0.5, 2.0, 0.5, 2.0])
    wanted = (objective.inverse(z) - (batch.actions - mean) / std).square().mean()
    torch.testing.assert_close(objective(batch)["inverse_loss"], wanted.detach())


def moving_dots(generator: torch.Generator) -> Windows:
    """A bright square of 4 x 4 pixels that the actions move: 32 windows of 4 frames."""
    actions = 2 * torch.rand(32, 3, 4, generator=generator) - 1
    steps = actions.unflatten(-1, (2, 2)).sum(-2)
    start = 4 + 4 * torch.rand(32, 1, 2, generator=generator)
    corner = torch.cat([start, start + steps.cumsum(1)], 1).clamp(0, 12)  # (B, T, 2)
    pixel = torch.arange(16.0)
    inside = (pixel >= corner[..., None]) & (pixel < corner[..., None] + 4)  # (B, T, 2, 16)
    square = inside[..., 0, :, None] & inside[..., 1, None, :]
    return Windows((255 * square.byte())[:, :, None].expand(-1, -1, 3, -1, -1), actions)


@pytest.mark.parametrize(("weight", "collapses"), [(0.09, False), (0.0, True)])
def test_sigreg_keeps_the_latents_apart(weight, collapses, make, generator):
    objective, _ = make("lewm", sigreg_weight=weight, rollout_steps=0, inverse_weight=0.0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    for _ in range(60):
        signals = objective(moving_dots(generator))
        optimizer.zero_grad()
        signals["loss"].backward()
        optimizer.step()
    assert (signals["target_std"].item() < 0.25) == collapses
    if not collapses:
        assert signals["target_std"].item() > 0.5
