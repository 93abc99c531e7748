"""Behaviour cloning where the best action is known: a point that walks straight to a goal."""

import numpy as np
import pytest
import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.objectives import behaviour_cloning
from jepa.objectives.behaviour_cloning import GoalPolicy, Pairs, fit_behaviour_cloning, fresh_policy

LOW, HIGH = torch.tensor([-0.1, -0.3]), torch.tensor([0.3, 0.1])  # not symmetric: the centre must count
LENGTH = 0.08


def walks(episodes: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Straight walks of 6 to 12 equal steps; latents are the position, seen through a fixed map to 2 x 4 numbers."""
    rng = np.random.default_rng(seed)
    latents, actions = [], []
    for _ in range(episodes):
        angle, steps = rng.uniform(0, 2 * np.pi), rng.integers(6, 13)
        action = LENGTH * np.array([np.cos(angle), np.sin(angle)])
        position = rng.uniform(-1, 1, 2) + np.arange(steps + 1)[:, None] * action
        latents.append(see(torch.tensor(position, dtype=torch.float32)))
        actions.append(torch.tensor(np.tile(action, (steps, 1)), dtype=torch.float32))
    return latents, actions


def see(position: Tensor) -> Tensor:
    """(n, 2) -> (n, 2, 4): an encoder of large scale and offset, with one constant channel."""
    mixed = position @ torch.tensor(
        [[1.0, 2.0, -1.0, 0.5, 3.0, 0.0, 1.0], [0.5, -1.0, 2.0, 1.0, 0.0, 1.0, 1.0]]
    )
    return torch.cat([100 * mixed + 1000, torch.full((len(position), 1), 7.0)], dim=1).view(-1, 2, 4)


@pytest.fixture(scope="module")
def policy() -> GoalPolicy:
    return fit_behaviour_cloning(*walks(400, 0), low=LOW, high=HIGH, steps=300, seed=0, device="cpu")


def test_the_policy_walks_towards_goals_it_never_saw(policy: GoalPolicy) -> None:
    latents, actions = walks(200, 1)
    start, goal = torch.stack([z[0] for z in latents]), torch.stack([z[5] for z in latents])
    truth = torch.stack([a[0] for a in actions])
    acted = policy(start, goal)
    assert torch.cosine_similarity(acted, truth).mean() > 0.99
    assert (acted - truth).norm(dim=1).mean() < 0.3 * LENGTH
    # The mean action, which knows no goal, is off by its whole length.
    assert (truth - truth.mean(0)).norm(dim=1).mean() > 0.9 * LENGTH


def test_the_policy_reaches_its_goal_in_closed_loop(policy: GoalPolicy) -> None:
    generator = torch.Generator().manual_seed(2)
    position = torch.rand(100, 2, generator=generator) - 0.5
    angle = 2 * torch.pi * torch.rand(100, generator=generator)
    goal = position + 8 * LENGTH * torch.stack([angle.cos(), angle.sin()], dim=1)
    nearest = (position - goal).norm(dim=1)
    for _ in range(9):
        position = position + policy(see(position), see(goal))
        nearest = torch.minimum(nearest, (position - goal).norm(dim=1))
    assert (nearest < 0.5 * LENGTH).float().mean() > 0.9


def test_actions_stay_within_the_bounds_and_reach_them() -> None:
    latents, actions = walks(20, 0)
    far = [10 * a for a in actions]  # recorded beyond the bounds: clipped, as an environment would
    policy = fit_behaviour_cloning(latents, far, low=LOW, high=HIGH, steps=60, seed=0, device="cpu")
    z = torch.cat(latents)
    acted = policy(z, z.flip(0))
    assert (acted >= LOW).all() and (acted <= HIGH).all()
    assert acted.min(0).values[1] < -0.28 and acted.max(0).values[0] > 0.28


def test_recorded_actions_count_as_what_the_environment_made_of_them() -> None:
    """Three times the upper bound is the upper bound: with as many at the lower one, the mean is the centre."""
    latents = [torch.zeros(2, 1, 3)] * 2
    actions = [LOW[None] + 3 * (HIGH - LOW), LOW[None]]
    policy = fit_behaviour_cloning(latents, actions, low=LOW, high=HIGH, steps=100, seed=0, device="cpu")
    torch.testing.assert_close(policy(latents[0], latents[0])[0], (LOW + HIGH) / 2, atol=0.03, rtol=0)


def test_rounding_of_a_constant_channel_is_no_signal(policy: GoalPolicy) -> None:
    latents, _ = walks(10, 3)
    z = torch.cat(latents)
    noisy = z.clone()
    noisy[:, 1, 3] += 1e-4 * torch.randn(len(z), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(policy(noisy, z.flip(0)), policy(z, z.flip(0)), atol=1e-3, rtol=0)


def test_the_seed_decides_and_nothing_else(policy: GoalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(seed: int, steps: int = 3) -> Tensor:
        latents, actions = walks(10, 0)
        fitted = fit_behaviour_cloning(
            latents, actions, low=LOW, high=HIGH, steps=steps, seed=seed, device="cpu"
        )
        return fitted(latents[0], latents[0].flip(0))

    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    first = fit(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(98)
    assert torch.equal(first, fit(0))
    assert not torch.equal(fit(0, steps=0), fit(1, steps=0)), "the seed must draw the weights"
    monkeypatch.setattr(behaviour_cloning, "fresh_policy", lambda *given: fresh_policy(*given[:3], 0))
    assert not torch.equal(first, fit(1)), "the seed must draw the pairs"
    assert not any(p.requires_grad for p in policy.parameters()) and not policy.training


@pytest.mark.parametrize("horizon", [None, 1, 3])
def test_goals_lie_ahead_in_the_same_episode_all_equally_likely(horizon: int | None) -> None:
    lengths = [4, 0, 7]  # an episode of one frame has no step, but takes a row
    step, frame, goal = Pairs(lengths, horizon).sample(40_000, torch.Generator().manual_seed(0))
    first = [0, 5, 6]
    episode = torch.where(step < 4, 0, 2)
    start = torch.tensor(first)[episode]
    end = start + torch.tensor(lengths)[episode]
    assert torch.equal(frame - start, torch.where(step < 4, step, step - 4))
    assert (goal > frame).all() and (goal <= end).all()
    assert torch.bincount(step, minlength=11).float().sub(40_000 / 11).abs().max() < 300
    reach = 7 if horizon is None else horizon
    ahead = (goal - frame)[step == 4]  # the first step of the third episode sees all of it
    counts = torch.bincount(ahead, minlength=reach + 1)[1:].float()
    assert len(counts) == reach and (counts / len(ahead) - 1 / reach).abs().max() < 0.04


def test_a_near_goal_is_told_from_a_far_one() -> None:
    """Walks with a corner: with horizon 1 the action is the next displacement, wherever the walk ends."""
    rng = np.random.default_rng(0)
    latents, actions = [], []
    for _ in range(300):
        turn = rng.choice([-1.0, 1.0])
        taken = LENGTH * np.array([[1.0, 0.0]] * 3 + [[0.0, turn]] * 3)
        position = np.concatenate([[[0.0, 0.0]], np.cumsum(taken, 0)])
        latents.append(torch.tensor(position, dtype=torch.float32)[:, None])  # (7, 1, 2)
        actions.append(torch.tensor(taken, dtype=torch.float32))
    fitted = fit_behaviour_cloning(
        latents, actions, low=LOW, high=HIGH, horizon=1, steps=200, seed=0, device="cpu"
    )
    z = torch.cat([episode[:-1] for episode in latents])
    after = torch.cat([episode[1:] for episode in latents])
    assert (fitted(z, after) - torch.cat(actions)).abs().mean() < 0.1 * LENGTH


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": []}, "1 episodes of latents and 0 of actions; give one for each"),
        (
            {"actions": [torch.zeros(4, 2)]},
            r"episode 0: latents \(4, 1, 3\) and actions \(4, 2\); needed are T \+ 1",
        ),
        ({"actions": [torch.zeros(3, 1)]}, r"actions \(3, 1\); .* T actions of 2 numbers"),
        ({"latents": [torch.zeros(1, 1, 3)], "actions": [torch.zeros(0, 2)]}, "no recorded step to clone"),
        ({"latents": [], "actions": []}, "no recorded step to clone"),
        ({"horizon": 0}, "horizon is 0; goals must lie at least 1 step ahead"),
        (
            {"high": torch.tensor([1.0, -1.0])},
            r"bounds are \[-1.0, -1.0\] to \[1.0, -1.0\]; .* with low < high",
        ),
        ({"high": torch.tensor([1.0, torch.inf])}, "they must be finite"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change: dict[str, object], message: str) -> None:
    given = {
        "latents": [torch.zeros(4, 1, 3)],
        "actions": [torch.zeros(3, 2)],
        "low": torch.tensor([-1.0, -1.0]),
        "high": torch.tensor([1.0, 1.0]),
    } | change
    latents, actions = given.pop("latents"), given.pop("actions")
    with pytest.raises(DataError, match=message):
        fit_behaviour_cloning(latents, actions, steps=1, seed=0, device="cpu", **given)
