import numpy as np
import pytest
import torch

from jepa.errors import ConfigError, DataError
from jepa.planning import (
    ActionPenalty,
    DiscreteSpace,
    GoalDistance,
    Imagined,
    LearnedValue,
    StateConstraint,
)
from tests.planning.problems import UNEVEN

B, S, H, N, D = 2, 3, 4, 5, 6


@pytest.fixture
def imagined(generator):
    return Imagined(
        z=torch.randn(B, S, H, N, D, generator=generator),
        actions=UNEVEN.actions(torch.rand(B, S, H, 2, generator=generator) * 2 - 1),
        start=torch.randn(B, N, D, generator=generator),
        goal=torch.randn(B, N, D, generator=generator),
    )


def distance(name, a, b):
    """Typed out for two frames (N, D)."""
    if name == "l1":
        return np.abs(a - b).mean()
    if name == "l2":
        return ((a - b) ** 2).mean()
    return np.mean([1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in zip(a, b, strict=True)])


@pytest.mark.parametrize("steps", ["last", "all"])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("name", ["l1", "l2", "cosine"])
def test_the_distance_to_the_goal_is_the_formula(imagined, name, pool, steps):
    costs = GoalDistance(name, pool=pool, steps=steps)(imagined)
    assert costs.shape == (B, S)
    for b in range(B):
        for s in range(S):
            frames = imagined.z[b, s].double().numpy()
            goal = imagined.goal[b].double().numpy()
            if pool:
                frames, goal = frames.mean(axis=1, keepdims=True), goal.mean(axis=0, keepdims=True)
            every = [distance(name, frame, goal) for frame in frames]
            expected = every[-1] if steps == "last" else np.mean(every)
            assert float(costs[b, s]) == pytest.approx(expected, rel=1e-4)


def test_costs_compose(imagined):
    goal, penalty = GoalDistance("l1"), ActionPenalty(UNEVEN)
    both = 2 * goal + penalty * 0.5 + goal
    torch.testing.assert_close(both(imagined), 3 * goal(imagined) + 0.5 * penalty(imagined))


def test_the_penalty_counts_fractions_of_half_the_range(imagined):
    expected = (
        ((imagined.actions - torch.tensor([1.0, 0.6])) / torch.tensor([2.0, 0.1])).square().mean((2, 3))
    )
    torch.testing.assert_close(ActionPenalty(UNEVEN)(imagined), expected)
    with pytest.raises(ConfigError, match="an action penalty needs continuous actions"):
        ActionPenalty(DiscreteSpace(3))


def test_a_constraint_costs_only_what_is_above_the_limit(imagined):
    def height(z):
        return z[..., 0, 0]

    expected = np.maximum(0, imagined.z[..., 0, 0].numpy() - 0.4).mean(axis=-1)
    np.testing.assert_allclose(StateConstraint(height, 0.4)(imagined), expected, rtol=1e-5)
    assert torch.equal(StateConstraint(height, 100.0)(imagined), torch.zeros(B, S))
    with pytest.raises(ConfigError, match=r"returned \(2, 3\) -- .* \(B, S, H\) = \(2, 3, 4\)"):
        StateConstraint(lambda z: z.mean(dim=(2, 3, 4)), 0.4)(imagined)


@pytest.mark.parametrize("steps", ["last", "all"])
def test_a_learned_value_reads_frame_and_goal(imagined, steps):
    def module(z, goal):
        assert goal.shape == (z.shape[0], 1, 1, *z.shape[3:])  # embedded once, not per candidate
        return (z * goal).sum(dim=(-2, -1))

    every = torch.einsum("bshnd,bnd->bsh", imagined.z, imagined.goal)
    expected = every[..., -1] if steps == "last" else every.mean(dim=-1)
    torch.testing.assert_close(LearnedValue(module, steps)(imagined), expected)
    with pytest.raises(ConfigError, match="one number per imagined frame"):
        LearnedValue(lambda z, goal: z, steps)(imagined)


@pytest.mark.parametrize("size", [(B, 1, D), (B, N, 1), (1, N, D)])
@pytest.mark.parametrize(
    "cost", [GoalDistance("l2"), GoalDistance("cosine"), LearnedValue(lambda z, goal: z)]
)
def test_a_goal_of_another_size_is_refused_instead_of_broadcast(imagined, cost, size):
    goal = torch.zeros(size)
    message = (
        rf"{size[0]} goals of {size[1]} tokens of width {size[2]}, but 2 imagined futures of 5 of width 6"
    )
    with pytest.raises(DataError, match=message):
        cost(Imagined(imagined.z, imagined.actions, imagined.start, goal))


def test_pooled_goals_may_have_other_tokens_but_not_another_width(imagined):
    fewer = Imagined(imagined.z, imagined.actions, imagined.start, imagined.goal.mean(dim=1, keepdim=True))
    torch.testing.assert_close(GoalDistance(pool=True)(fewer), GoalDistance(pool=True)(imagined))
    with pytest.raises(DataError, match="of width 1"):
        GoalDistance(pool=True)(Imagined(imagined.z, imagined.actions, imagined.start, torch.zeros(B, N, 1)))


def test_costs_lead_gradients_to_the_frames_and_actions(imagined):
    z, actions = imagined.z.clone().requires_grad_(), imagined.actions.clone().requires_grad_()
    cost = GoalDistance("cosine", steps="all") + ActionPenalty(UNEVEN)
    cost(Imagined(z, actions, imagined.start, imagined.goal)).sum().backward()
    assert (z.grad != 0).all() and (actions.grad != 0).all()
