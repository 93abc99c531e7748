"""Planning between recorded frames: pairs of test episodes alone, every row compared alike, discrete actions too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from jepa.config.load import parse
from jepa.config.plan import PlanConfig
from jepa.data.trajectories.episodes import open_episodes
from jepa.errors import ConfigError, DataError
from jepa.models.world_model import load_world_model
from jepa.planning.costs import Cost
from jepa.planning.spaces import BoxSpace, DiscreteSpace
from jepa.programs import offline
from jepa.programs.offline import Energy, Pairs
from jepa.programs.plan import plan
from jepa.programs.world_model import train_world_model

CEM = {"kind": "cem", "samples": 8, "iterations": 2, "elites": 2}


def planner(name: str = "by latent", **changes: object) -> dict:
    return {"name": name, "solver": CEM, "costs": [{"kind": "goal"}], "horizon": 1} | changes


@pytest.fixture
def recorded(world, tmp_path) -> Callable[..., PlanConfig]:
    def build(*, ahead: int = 2, **changes: object) -> PlanConfig:
        values = {
            "run_dir": str(tmp_path / "plan"),
            "model": str(world),
            "goals": {"kind": "recorded", "ahead": ahead},
            "planners": [planner()],
            "baselines": [],
            "episodes": 10,
        }
        return parse(values | changes, PlanConfig)

    return build


@pytest.fixture
def kept(monkeypatch) -> list[Pairs]:
    """The pairs of every evaluation."""
    seen: list[Pairs] = []
    plain = offline._encoded

    def keep(*arguments):
        seen.append(plain(*arguments))
        return seen[-1]

    monkeypatch.setattr(offline, "_encoded", keep)
    return seen


class Knows(Cost):
    """A cost that knows the recorded actions."""

    def __init__(self, actions) -> None:
        self.actions = actions

    def __call__(self, imagined):
        return (imagined.actions - self.actions[:, None]).square().sum((2, 3))


def knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every energy be the distance to the recorded actions of its pairs."""
    monkeypatch.setattr(
        Energy, "of", lambda self, rows: lambda a: Knows(self.pairs.actions[rows])(_Actions(a))
    )


class _Actions:
    def __init__(self, actions) -> None:
        self.actions = actions


def test_what_is_found(recorded):
    costs = [{"kind": "value"}, {"kind": "action", "weight": 0.1}]
    result = plan(recorded(planners=[planner("by value", costs=costs), planner()]))
    found = result.summary["recovery"]
    assert list(found) == ["random action", "mean action", "by value", "by latent"]
    assert all(numbers["each"] > 0 for numbers in found.values())
    assert (result.summary["pairs"], result.summary["seed"]) == (10, 0)
    assert len(result.summary["landscape"]["by value"]["energy"]) == 21
    assert len(result.summary["prediction"]["world_model"]) == 4
    report = (result.run_dir / "report.html").read_text()
    assert "Energy around the recorded action" in report and "Prediction error" in report


@pytest.mark.parametrize(("skip", "ahead"), [(1, 2), (3, 2)])
def test_pairs_are_of_test_episodes_and_as_far_apart_as_asked(recorded, world_config, kept, skip, ahead):
    config = world_config(data={"frame_skip": skip, "window": 3}, value=None, horizon=2, optim={"steps": 1})
    train_world_model(config)
    plan(recorded(model=config.run_dir, ahead=ahead, episodes=50))
    (pairs,) = kept
    data, model = config.data, load_world_model(config.run_dir, device="cpu")
    episodes = open_episodes(data.sources, test_fraction=data.test_fraction).test
    everything = []
    for episode in episodes:
        for first in range(0, len(episode) - ahead * skip + 1, ahead * skip):
            ends = torch.from_numpy(episode.frames[np.array([first, first + ahead * skip])])
            z = model.encode(ends[None])[0]
            actions = episode.actions[first : first + ahead * skip].reshape(ahead, -1)
            everything.append((z[0], z[1], torch.from_numpy(actions)))
    assert len(pairs.actions) == min(50, len(everything))
    for start, goal, actions in zip(pairs.start[:, 0], pairs.goal, pairs.actions, strict=True):
        assert any(
            torch.equal(actions, a)
            and torch.allclose(start, one, atol=1e-5)
            and torch.allclose(goal, two, atol=1e-5)
            for one, two, a in everything
        )


def test_seeds_draw_other_pairs(recorded, kept):
    for seed in (0, 0, 1):
        plan(recorded(episodes=4, seeds=[seed]))
    one, again, other = (pairs.actions for pairs in kept)
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("skip", [1, 2])
def test_a_perfect_model_recovers_the_recorded_actions(recorded, world_config, monkeypatch, skip):
    """A cost that knows the recorded actions: the search must bring them back, pair by pair."""
    config = world_config(data={"frame_skip": skip, "window": 3}, value=None, horizon=2, optim={"steps": 1})
    train_world_model(config)
    knowing(monkeypatch)
    moved = []
    plain = offline.landscape
    monkeypatch.setattr(
        offline, "landscape", lambda costs, each, **k: moved.append(each) or plain(costs, each, **k)
    )
    solver = {"kind": "cem", "samples": 200, "iterations": 20, "elites": 20, "min_std": 0.0}
    summary = plan(
        recorded(model=config.run_dir, planners=[planner("oracle", solver=solver)], episodes=6, parallel=4)
    ).summary
    assert summary["recovery"]["oracle"]["each"] < 0.05 < summary["recovery"]["mean action"]["each"]
    field = summary["landscape"]["oracle"]
    assert field["lowest"] == pytest.approx([0, 0], abs=1e-6)
    assert moved[0].shape == (6, 2 * skip, 2) and sorted(field["axes"]) == [
        0,
        1,
    ]  # of an environment step, also where a model step has several


def test_the_mean_action_is_that_of_training_and_the_random_one_within_its_bounds(
    recorded, kept, monkeypatch, world
):
    seen = []
    plain = offline.recovery
    monkeypatch.setattr(
        offline, "recovery", lambda proposed, *a, **k: seen.append(proposed) or plain(proposed, *a, **k)
    )
    plan(recorded(episodes=30))
    drawn, mean, _ = seen
    data = load_world_model(world, device="cpu").config.data
    episodes = open_episodes(data.sources, test_fraction=data.test_fraction).train
    taken = np.concatenate([episode.actions for episode in episodes])
    assert mean.numpy() == pytest.approx(np.broadcast_to(taken.mean(0), mean.shape), abs=1e-5)
    low, high = taken.min(0), taken.max(0)
    numbers = drawn.flatten(0, 1).numpy()
    assert (numbers >= low - 1e-6).all() and (numbers <= high + 1e-6).all()
    assert numbers.std(0) == pytest.approx((high - low) / 12**0.5, rel=0.35)  # uniform


def test_test_episodes_that_are_too_short(recorded):
    with pytest.raises(DataError, match="has 31 model steps of 1 environment steps; lower goals.ahead"):
        plan(recorded(ahead=31))


def test_a_horizon_longer_than_the_test_episodes_is_left_out(recorded, world_config):
    config = world_config(value=None, horizon=50, optim={"steps": 1})
    train_world_model(config)
    result = plan(recorded(model=config.run_dir, episodes=2))
    assert result.summary["prediction"] is None and "by latent" in result.summary["recovery"]
    assert "Prediction error" not in (result.run_dir / "report.html").read_text()


def test_a_value_that_was_not_learned_is_said_before_any_search(recorded, world_config, monkeypatch):
    config = world_config(value=None, optim={"steps": 1})
    train_world_model(config)
    monkeypatch.setattr(offline, "_planned", lambda *a, **k: pytest.fail("searched"))
    planners = [planner("first"), planner("second", costs=[{"kind": "value"}])]
    with pytest.raises(ConfigError, match="needs a world model with a learned distance in time"):
        plan(recorded(model=config.run_dir, planners=planners))


def test_proprioception_is_that_of_the_start(recorded, world_config, kept):
    config = world_config(data={"proprio": True}, value=None, optim={"steps": 1})
    train_world_model(config)
    plan(recorded(model=config.run_dir, episodes=3))
    data = config.data
    episodes = open_episodes(data.sources, test_fraction=data.test_fraction, proprio=True).test
    for proprio, actions in zip(kept[0].proprio, kept[0].actions, strict=True):
        assert any(
            np.array_equal(episode.actions[at : at + 2], actions.numpy())
            and np.array_equal(episode.proprio[at], proprio[0].numpy())
            for episode in episodes
            for at in range(len(episode) - 1)
        )


@pytest.fixture
def choices(rooms, tmp_path) -> Path:
    """The episodes of Two-Room, their actions replaced by one of three."""
    folder = tmp_path / "choices"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for path in Path(rooms).iterdir():
        if path.suffix != ".npz":
            (folder / path.name).write_bytes(path.read_bytes())
            continue
        parts = dict(np.load(path))
        parts["actions"] = np.eye(3, dtype=np.float32)[draw.integers(3, size=len(parts["actions"]))]
        np.savez(folder / path.name, **parts)
    return folder


def test_discrete_actions_are_chosen_not_mixed(recorded, world_config, choices, monkeypatch):
    sources = [{"kind": "store", "path": str(choices)}]
    data = {"sources": sources, "frame_skip": 2, "window": 3}
    config = world_config(data=data, value=None, horizon=2, optim={"steps": 1})
    train_world_model(config)
    knowing(monkeypatch)
    solver = {"kind": "cem", "samples": 100, "iterations": 8, "elites": 10}
    seen = []
    plain = offline.recovery
    monkeypatch.setattr(
        offline, "recovery", lambda proposed, *a, **k: seen.append(proposed) or plain(proposed, *a, **k)
    )
    summary = plan(
        recorded(model=config.run_dir, planners=[planner("oracle", solver=solver)], episodes=6)
    ).summary
    assert summary["recovery"]["oracle"]["each"] == 0 and summary["landscape"] == {}
    drawn, _, planned = seen
    for actions in (drawn, planned):
        one_hot = actions.reshape(-1, 3)
        assert ((one_hot == 0) | (one_hot == 1)).all() and (one_hot.sum(1) == 1).all()
    with pytest.raises(ConfigError, match="an action penalty needs continuous actions"):
        plan(recorded(model=config.run_dir, planners=[planner(costs=[{"kind": "action"}])]))


def test_actions_that_only_look_like_a_choice_of_one(world):
    """One number that is always 1 is no choice."""
    model = load_world_model(world, device="cpu")
    z = torch.zeros(2, 1, 1, 8)

    def space(actions):
        return offline._recorded_space(model, Pairs(z, z[:, 0], actions, None))

    assert isinstance(space(torch.eye(2)[:, None]), DiscreteSpace)
    assert isinstance(space(torch.ones(2, 1, 1)), BoxSpace)
    assert isinstance(space(torch.tensor([[[0.5, 0.5]], [[0.0, 1.0]]])), BoxSpace)
    assert isinstance(space(torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]]])), BoxSpace)
