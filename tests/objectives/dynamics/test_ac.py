"""V-JEPA 2-AC and DINO-WM, typed out by hand."""

import numpy as np
import pytest
import torch

DISTANCES = {
    "l1": lambda error: np.abs(error).mean(),
    "l2": lambda error: (error**2).mean(),
    "smooth_l1": lambda error: np.where(abs(error) < 1, error**2 / 2, abs(error) - 0.5).mean(),
}


@pytest.mark.parametrize("loss", sorted(DISTANCES))
def test_the_loss_is_teacher_forcing_plus_all_steps_of_the_rollout(loss, make):
    objective, batch = make("ac", loss=loss)
    model = objective.world_model
    with torch.no_grad():
        z = model.frames(batch.frames)
        forced = model.predict(z[:, :5], batch.actions, batch.proprio[:, :5])
        imagined = model.rollout(z[:, :1], batch.actions[:, :3], proprio=batch.proprio[:, :1])
    z, distance = z.numpy(), DISTANCES[loss]
    one, several = distance(forced.numpy() - z[:, 1:]), distance(imagined.numpy() - z[:, 1:4])
    signals = {name: value.item() for name, value in objective(batch).items()}
    assert signals["prediction_loss"] == pytest.approx(one, rel=1e-5)
    assert signals["rollout_loss"] == pytest.approx(several, rel=1e-5)
    assert signals["loss"] == pytest.approx(one + 0.7 * several, rel=1e-5)
    assert signals["target_std"] == pytest.approx(z.reshape(-1, z.shape[-1]).std(0, ddof=1).mean(), rel=1e-4)


def test_dino_wm_has_no_rollout(make):
    objective, batch = make("ac", loss="l2", rollout_steps=0)
    signals = objective(batch)
    assert "rollout_loss" not in signals
    torch.testing.assert_close(signals["loss"].detach(), signals["prediction_loss"])


def test_the_first_step_of_a_rollout_is_teacher_forced(make):
    objective, batch = make("ac", rollout_steps=1)
    z = objective.encode(batch)
    torch.testing.assert_close(
        objective.imagine(z, batch, 1)[:, 0], objective.predict(z, batch)[:, 0], rtol=1e-4, atol=1e-5
    )


def test_the_frozen_encoder_stays_as_it_is(make):
    objective, batch = make("ac")
    encoder = objective.world_model.frames.encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    objective.train()
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    objective(batch)["loss"].backward()
    optimizer.step()
    assert not encoder.training
    assert all(p.grad is None for p in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_targets_are_not_moved_even_by_an_encoder_that_could(make):
    """The loss reaches the dynamics alone; otherwise all frames would become one."""
    objective, batch = make("lewm")
    z = objective.encode(batch).detach().requires_grad_()
    ac, _ = make("ac")
    ac.world_model, ac.encode = objective.world_model, lambda batch: z
    ac(batch)["loss"].backward()
    assert z.grad is None
    assert all(p.grad is not None for p in objective.world_model.dynamics.parameters())
