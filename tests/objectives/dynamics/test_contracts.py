"""Contracts that every objective of world models keeps."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jepa.objectives.dynamics import DYNAMICS_OBJECTIVES, DynamicsObjective
from jepa.types import Windows
from tests.objectives.dynamics.conftest import OBJECTIVES, STEPS

Make = Callable[..., tuple[DynamicsObjective, Windows]]
KINDS = sorted(DYNAMICS_OBJECTIVES)

WEIGHTS = {
    "rollout_loss": "rollout_weight",
    "sigreg": "sigreg_weight",
    "inverse_loss": "inverse_weight",
    "variance_loss": "variance_weight",
    "covariance_loss": "covariance_weight",
    "time_loss": "time_weight",
}
OVER_THE_BATCH = {"loss", "sigreg", "variance_loss", "covariance_loss", "target_std", "prediction_std"}


def test_every_objective_is_covered() -> None:
    assert set(OBJECTIVES) == set(DYNAMICS_OBJECTIVES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str, make: Make) -> None:
    objective, batch = make(kind)
    objective(batch)["loss"].backward()
    idle = [
        n for n, p in objective.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not idle, f"no gradient reaches {idle}"


@pytest.mark.parametrize("kind", ["lewm", "pldm"])
def test_without_inverse_dynamics_nothing_idles_either(kind: str, make: Make) -> None:
    objective, batch = make(kind, inverse_weight=0.0, rollout_steps=0)
    signals = objective(batch)
    signals["loss"].backward()
    assert "inverse_loss" not in signals and "rollout_loss" not in signals
    assert all(p.grad is not None and p.grad.any() for p in objective.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_weighted_sum_of_what_is_logged(kind: str, make: Make) -> None:
    objective, batch = make(kind)
    signals = objective(batch)
    assert [name for name, value in signals.items() if value.requires_grad] == ["loss"]
    assert all(torch.isfinite(value) and value.ndim == 0 for value in signals.values())
    config = OBJECTIVES[kind]
    terms = {name: signals[name] * config[weight] for name, weight in WEIGHTS.items() if name in signals}
    total = sum(terms.values()) + signals.get("prediction_loss", 0)
    torch.testing.assert_close(signals["loss"].detach(), total)
    named = {weight for name, weight in WEIGHTS.items() if name in signals}
    assert named == {name for name in config if name.endswith("_weight")}, "a weight has no loss"


@pytest.mark.parametrize("kind", KINDS)
def test_samples_do_not_mix(kind: str, make: Make) -> None:
    """But for the losses over the batch, a batch gives the mean of its halves."""
    objective, batch = make(kind)
    whole, halves = objective(batch), [objective(half) for half in batch.split(2)]
    alone = whole.keys() - OVER_THE_BATCH
    assert "rollout_loss" in alone
    for name in alone:
        torch.testing.assert_close(whole[name], (halves[0][name] + halves[1][name]) / 2, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rollout_sees_the_first_frame_and_its_own_actions_alone(kind: str, make: Make) -> None:
    objective, batch = make(kind)
    z = torch.randn_like(objective.encode(batch))
    before = objective.imagine(z, batch, STEPS)
    later = replace(batch, actions=torch.cat([batch.actions[:, :STEPS], torch.randn(4, 5 - STEPS, 4)], 1))
    seen = torch.cat([z[:, :1], torch.randn_like(z[:, 1:])], 1)
    assert torch.equal(objective.imagine(seen, later, STEPS), before)
    first = replace(batch, actions=torch.cat([torch.randn(4, 1, 4), batch.actions[:, 1:]], 1))
    assert (objective.imagine(z, first, STEPS) != before).flatten(2).any(-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_prediction_of_a_frame_does_not_know_it(kind: str, make: Make) -> None:
    """Frame t and the actions from t on change no prediction of frames up to t."""
    objective, batch = make(kind)
    z, t = torch.randn_like(objective.encode(batch)), 3
    before = objective.predict(z, batch)
    z = torch.cat([z[:, :t], torch.randn_like(z[:, t:])], 1)
    actions = torch.cat([batch.actions[:, :t], torch.randn_like(batch.actions[:, t:])], 1)
    after = objective.predict(z, replace(batch, actions=actions))
    torch.testing.assert_close(after[:, :t], before[:, :t])
    assert (after[:, t:] != before[:, t:]).flatten(2).any(-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through_the_rollout(kind: str, make: Make) -> None:
    """Its loss and gradients are those of feeding predictions back by hand."""
    objective, batch = make(kind)
    model = objective.world_model
    z = objective.encode(batch).detach()

    def by_hand() -> Tensor:
        seen = z[:, :1]
        for step in range(STEPS):
            proprio = None if batch.proprio is None else batch.proprio[:, : step + 1]
            following = model.predict(seen, batch.actions[:, : step + 1], proprio)[:, -1:]
            seen = torch.cat([seen, following], dim=1)
        return seen[:, 1:]

    weights = list(model.dynamics.parameters())
    distance = (objective.imagine(z, batch, STEPS) - z[:, 1 : STEPS + 1]).square().mean()
    wanted = (by_hand() - z[:, 1 : STEPS + 1]).square().mean()
    torch.testing.assert_close(distance, wanted)
    found, true = torch.autograd.grad(distance, weights), torch.autograd.grad(wanted, weights)
    for one, other in zip(found, true, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_objective_must_say_what_it_minimises(make: Make) -> None:
    objective, batch = make("ac")
    with pytest.raises(TypeError, match="DynamicsObjective must define forward"):
        DynamicsObjective(objective.world_model)(batch)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_are_encoded_are_taken_as_they_are(kind: str, make: Make) -> None:
    """The loss of latents that were computed before is that of their pixels."""
    objective, batch = make(kind)
    objective.eval()
    with torch.no_grad():
        latents = replace(batch, frames=objective.encode(batch))
    monitors = []
    for given in (batch, latents):
        torch.manual_seed(0)  # SIGReg's directions
        monitors.append(objective(given))
    assert monitors[0].keys() == monitors[1].keys()
    for name, value in monitors[0].items():
        torch.testing.assert_close(monitors[1][name], value, atol=1e-5, rtol=1e-5)
    objective.world_model.frames.register_forward_pre_hook(lambda *_: pytest.fail("encoded again"))
    objective(latents)
