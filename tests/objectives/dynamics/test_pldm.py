"""PLDM's loss typed out by hand, in NumPy, from the model's latents."""

import numpy as np
import pytest
import torch

from tests.objectives.dynamics.conftest import MEAN, STD


def inverse_error(objective, z, actions):
    """Mean squared error of W2 relu(W1 [z_t, z_t+1] + b1) + b2 to the normalised actions."""
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in objective.inverse.parameters())
    pairs = np.concatenate([z[:, :-1], z[:, 1:]], axis=-1)
    read = np.maximum(pairs @ w1.T + b1, 0) @ w2.T + b2
    normalised = (actions.double().numpy() - np.tile(MEAN, 2)) / np.tile(STD, 2)
    return ((read - normalised) ** 2).mean()


@pytest.mark.parametrize("steps", [3, 0])
def test_all_five_terms(steps, make):
    objective, batch = make("pldm", rollout_steps=steps)
    model = objective.world_model
    with torch.no_grad():
        latents = model.frames(batch.frames)
        imagined = (
            model.rollout(latents[:, :1], batch.actions[:, :3])
            if steps
            else model.predict(latents[:, :5], batch.actions)
        )
    z = latents[:, :, 0].double().numpy()  # (B, T, D)
    steps_seen = 3 if steps else 5
    similarity = ((imagined[:, :, 0].double().numpy() - z[:, 1 : steps_seen + 1]) ** 2).mean()
    variance = np.mean([np.maximum(0, 1 - np.sqrt(z[:, t].var(0, ddof=1) + 1e-4)) for t in range(6)])
    covariances = [np.cov(z[:, t].T) for t in range(6)]
    covariance = np.mean([((c**2).sum() - (np.diag(c) ** 2).sum()) / 6 for c in covariances])
    time = ((z[:, 1:] - z[:, :-1]) ** 2).mean()
    inverse = inverse_error(objective, z, batch.actions)
    signals = {name: value.item() for name, value in objective(batch).items()}
    wanted = {
        "rollout_loss" if steps else "prediction_loss": similarity,
        "variance_loss": variance,
        "covariance_loss": covariance,
        "time_loss": time,
        "inverse_loss": inverse,
    }
    assert {name: signals[name] for name in wanted} == pytest.approx(wanted, rel=1e-3)
    assert signals["loss"] == pytest.approx(
        (0.7 if steps else 1) * similarity + 1.1 * variance + 1.3 * covariance + 0.4 * time + 0.3 * inverse,
        rel=1e-3,
    )


def test_a_constant_encoder_is_punished_by_the_variance_alone(make):
    objective, batch = make("pldm")
    with torch.no_grad():
        objective.world_model.frames.head.weight.zero_()
    signals = objective(batch)
    assert signals["variance_loss"].item() == pytest.approx(0.99, abs=1e-5)
    assert signals["time_loss"].item() == signals["target_std"].item() == 0
    assert signals["covariance_loss"].item() == 0
