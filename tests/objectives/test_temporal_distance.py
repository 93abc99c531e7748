"""Distance in time where the shortest ways are known: graphs on which agents walked at random."""

from collections import deque

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from jepa.config.world_model import ValueConfig
from jepa.errors import DataError, NonFiniteError
from jepa.models.temporal_distance import TemporalDistance
from jepa.objectives.temporal_distance import (
    QuasimetricLoss,
    fit_temporal_distance,
    push_apart,
    violation,
)

SMALL = ValueConfig(steps=400, batch_size=64, learning_rate=5e-3, width=32, dim=32, reach=10, slack=0.03)
Graph = list[list[int]]


def two_rooms() -> Graph:
    """A 5 x 3 grid whose middle column is a wall, but for the door in row 0."""
    free = [(x, y) for x in range(5) for y in range(3) if x != 2 or y == 0]
    number = {place: i for i, place in enumerate(free)}
    steps = ((1, 0), (-1, 0), (0, 1), (0, -1))
    return [[number[x + a, y + b] for a, b in steps if (x + a, y + b) in number] for x, y in free]


def one_way(length: int) -> Graph:
    """A ring on which every step goes forward."""
    return [[(i + 1) % length] for i in range(length)]


def shortest(graph: Graph) -> NDArray[np.float64]:
    """Breadth-first search from every node: (n, n)."""
    found = np.full((len(graph), len(graph)), -1.0)
    for start in range(len(graph)):
        found[start, start] = 0
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for after in graph[node]:
                if found[start, after] < 0:
                    found[start, after] = found[start, node] + 1
                    queue.append(after)
    return found


def walks(graph: Graph, *, episodes: int = 40, steps: int = 8) -> list[Tensor]:
    """Random walks; a node is seen as a one-hot vector, through a large scale and offset."""
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(episodes):
        path = [int(rng.integers(len(graph)))]
        for _ in range(steps):
            path.append(int(rng.choice(graph[path[-1]])))
        seen.append(see(len(graph))[path])
    return seen


def see(nodes: int) -> Tensor:
    """(n, 1, n): what an encoder shows of every node."""
    return 100 + 30 * torch.eye(nodes)[:, None]


def learned(distance: TemporalDistance, nodes: int) -> NDArray[np.float64]:
    """Distances between all nodes, (n, n)."""
    z = see(nodes)
    return distance(z[:, None], z[None]).double().numpy()


def test_it_finds_the_way_through_the_door() -> None:
    graph = two_rooms()
    true, found = (
        shortest(graph),
        learned(fit_temporal_distance(walks(graph), SMALL, seed=0), len(graph)),
    )
    assert np.abs(found.diagonal()).max() == 0
    assert spearmanr(found.ravel(), true.ravel()).statistic > 0.9
    assert 0.9 < (found * true).sum() / (true * true).sum() < 1.6  # rare steps may count as more than one
    # Both ends of the wall's foot: 2 columns apart as the crow flies, 6 steps by the door.
    left, right = 5, 9
    assert true[left, right] == 6
    assert found[left, right] > 4.5
    taken = np.array([found[i, j] for i, nodes in enumerate(graph) for j in nodes])
    assert np.median(taken) == pytest.approx(1, abs=0.2)


def test_a_way_back_may_be_longer() -> None:
    graph = one_way(5)
    true, found = (
        shortest(graph),
        learned(fit_temporal_distance(walks(graph), SMALL, seed=0), len(graph)),
    )
    forward, back = found[np.arange(4), np.arange(1, 5)], found[np.arange(1, 5), np.arange(4)]
    np.testing.assert_allclose(forward, 1, atol=0.5)
    assert (back > 2.5).all()
    assert spearmanr(found.ravel(), true.ravel()).statistic > 0.85


def test_losses_are_the_formulas() -> None:
    d = np.array([0.2, 0.9, 1.5, 3.0, 20.0])
    beta = 5 / 10.0
    pushed = np.mean(np.log1p(np.exp(beta * (10.0 - d))) / beta)
    assert float(push_apart(torch.tensor(d), 10.0)) == pytest.approx(pushed, rel=1e-9)
    over = (0.5**2 + 2.0**2 + 19.0**2) / 5 - 0.3**2
    assert float(violation(torch.tensor(d), 0.3)) == pytest.approx(over, rel=1e-9)


def test_the_loss_pushes_random_pairs_and_holds_neighbours() -> None:
    torch.manual_seed(0)
    distance, loss = TemporalDistance(4, width=8, dim=6), QuasimetricLoss(reach=10, slack=0.2)
    frames, following = torch.randn(2, 5, 1, 4)
    minimised, ascended = loss(distance, frames, following)
    near = distance(frames, following)
    far = torch.stack([distance(frames[i], following[i - 1]) for i in range(5)])
    broken, multiplier = violation(near, 0.2), torch.nn.functional.softplus(loss.raw_multiplier).detach()
    assert float(multiplier) == pytest.approx(5.0)
    torch.testing.assert_close(minimised, push_apart(far, 10) + 5 * broken)
    torch.testing.assert_close(ascended, -5 * broken)


def test_the_multiplier_rises_where_the_constraint_is_broken_and_moves_no_distance() -> None:
    torch.manual_seed(0)
    distance, loss = TemporalDistance(4, width=8, dim=6), QuasimetricLoss(reach=10, slack=0.2)
    for scale, sign in ((1000.0, -1), (0.0, 1)):  # neighbours far apart, neighbours at one place
        frames = torch.randn(6, 1, 4)
        minimised, ascended = loss(distance, frames, frames + scale * torch.randn(6, 1, 4))
        (gradient,) = torch.autograd.grad(ascended, loss.raw_multiplier)
        assert float(gradient.sign()) == sign  # descent on it raises the multiplier of a broken constraint
        assert torch.autograd.grad(minimised, loss.raw_multiplier, allow_unused=True) == (None,)
        minimised, ascended = loss(distance, frames, frames)
        moved = torch.autograd.grad(ascended, list(distance.parameters()), allow_unused=True)
        assert all(gradient is None for gradient in moved)


def test_it_is_a_function_of_episodes_and_seed_and_leaves_the_global_generator() -> None:
    few = SMALL.model_copy(update={"steps": 3})
    episodes = walks(one_way(4), episodes=5)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, two, other = (fit_temporal_distance(episodes, few, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
    apart = one.layers[0].weight - other.layers[0].weight
    assert apart.abs().max() > 0.1  # more than 3 steps could do: other weights at the start
    assert not one.training and not any(p.requires_grad for p in one.parameters())


def test_episodes_are_not_joined_and_tokens_are_averaged() -> None:
    """Two groups of places that no episode connects: they are pushed apart, though their episodes are neighbours."""
    place = torch.eye(4)[:, None]
    episodes = [place[[0, 1, 0, 1]], place[[2, 3, 2, 3]]] * 4
    distance = fit_temporal_distance(episodes, SMALL.model_copy(update={"steps": 120}), seed=0)
    within, across = distance(place[0], place[1]), distance(place[1], place[2])
    assert float(within) < 1.5 and float(across) > 3 * float(within)
    spread = torch.stack([place[:, 0] + 1, place[:, 0] - 1], dim=1)  # (4, 2, 4) with the same mean
    torch.testing.assert_close(distance(spread, place[:1]), distance(place, place[:1]))


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"2 episodes, none with two frames .* give longer episodes"):
        fit_temporal_distance([torch.zeros(1, 1, 4)] * 2, SMALL, seed=0)
    with pytest.raises(DataError, match=r"0 episodes, none with two frames"):
        fit_temporal_distance([], SMALL, seed=0)
    broken = torch.zeros(3, 1, 4)
    broken[1, 0, 2] = torch.nan
    with pytest.raises(DataError, match=r"1 numbers of the encoded frames are not finite"):
        fit_temporal_distance([broken], SMALL, seed=0)
    wild = SMALL.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(NonFiniteError, match=r"at step \d+ -- lower value.learning_rate, now 1e\+30"):
        fit_temporal_distance(walks(one_way(4), episodes=5), wild, seed=0)
