"""Our world model in stable-worldmodel's loop; runs where that package is installed (examples/README.md)."""

import argparse
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.policy.source import ROOT

FRAME_SKIP = 5


class SeesTheDot:
    """A world model that knows their room but for its walls: z is the dot's place in pixels, (B, T, 1, 2)."""

    frame_skip, history, encoded = FRAME_SKIP, 1, 0

    def encode(self, frames):
        self.encoded += 1
        values = frames.float()
        red = (values[..., 0] - values[..., 1]).clamp(min=0)  # (B, T, H, W); walls and floor are grey
        size = frames.shape[2]
        places = (torch.arange(size) + 0.5) * 224 / size - 0.5
        mass = red.sum((-1, -2)).clamp(min=1)
        place = torch.stack(
            [(red.sum(-2) * places).sum(-1) / mass, (red.sum(-1) * places).sum(-1) / mass], -1
        )
        return place[:, :, None]

    def rollout(self, z, actions, *, past_actions=None, proprio=None):
        moved = 5 * actions.unflatten(-1, (FRAME_SKIP, 2)).sum(-2).cumsum(
            -2
        )  # (B, S, H, 2): 5 pixels per step
        return z[:, -1][:, None, None] + moved[..., None, :]


@pytest.fixture
def example(monkeypatch):
    """Import a script of examples/ by its name."""
    pytest.importorskip("stable_worldmodel", reason="an outside judge, in an environment of its own")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module


@pytest.fixture
def cost(example):
    adapters = example("stable_worldmodel_adapters")
    scaler = adapters.ZScoreScaler(mean=[[0.1, -0.2]], std=[[0.5, 2.0]])
    return adapters.Cost(SeesTheDot(), scaler, low=-1, high=1)


def info_of(batch: int, samples: int) -> dict[str, torch.Tensor]:
    """What a solver hands over: every row of an environment is the same image."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (2, batch, 1, 1, 16, 16, 3), generator=generator, dtype=torch.uint8)
    here, there = images.expand(2, batch, samples, 1, 16, 16, 3)
    return {"pixels": here, "goal": there}


pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # their package warns at import, and about its own environment


def test_a_candidate_costs_what_playing_it_would(cost):
    info, candidates = (
        info_of(2, 4),
        torch.randn(2, 4, 3, FRAME_SKIP * 2, generator=torch.Generator().manual_seed(0)),
    )
    found = cost.get_cost(info, candidates)
    for b in range(2):
        start, goal = (SeesTheDot().encode(info[key][b : b + 1, 0])[0, 0, 0] for key in ("pixels", "goal"))
        for s in range(4):
            steps = candidates[b, s].reshape(-1, 2).numpy() * [0.5, 2.0] + [0.1, -0.2]
            end = start.numpy() + 5 * np.clip(steps, -1, 1).sum(0)
            assert found[b, s].item() == pytest.approx(np.mean((end - goal.numpy()) ** 2), rel=1e-4)


def test_a_decision_encodes_once(cost):
    info = info_of(2, 4)
    for _ in range(3):
        cost.get_cost(info, torch.zeros(2, 4, 3, FRAME_SKIP * 2))
    assert cost.world_model.encoded == 2  # the context and the goal
    cost.get_cost(info_of(2, 4), torch.zeros(2, 4, 3, FRAME_SKIP * 2))
    assert cost.world_model.encoded == 4


def test_a_model_that_knows_the_room_reaches_their_goals(example, monkeypatch, tmp_path):
    example("stable_worldmodel_collect").record(
        tmp_path, episodes=12, steps=60, size=32, seed=0, parallel=4, policy="expert"
    )
    judge = example("stable_worldmodel_judge")
    monkeypatch.setattr(judge.jepa, "load_world_model", lambda run, device: SeesTheDot(), raising=False)
    numbers = {"goals": 10, "ahead": 25, "budget": 50, "samples": 100, "iterations": 10, "elites": 10}
    numbers |= {"horizon": 5, "replan_every": 5, "batch_size": 5, "seed": 1}
    args = argparse.Namespace(run="", episodes=str(tmp_path), cost="latent", device="cpu", **numbers)
    rows = judge.judge(args)["reached"]
    assert rows["expert"]["all"] == [10, 10]
    assert rows["planner"]["all"][0] >= 9 > rows["random"]["all"][0]


def test_recorded_actions_lead_from_frame_to_frame(example, tmp_path):
    example("stable_worldmodel_collect").record(
        tmp_path, episodes=3, steps=20, size=32, seed=0, parallel=1, policy="random"
    )
    episodes = example("jepa.data.trajectories.store").open_store(_source(tmp_path)).episodes
    moved = np.concatenate([np.diff(e.states, axis=0) for e in episodes])
    pushed = np.concatenate([5 * e.actions for e in episodes])
    free = np.abs(moved - pushed).max(1) < 1e-3  # the others met a wall
    assert len(moved) == sum(len(e.frames) - 1 for e in episodes) and free.mean() > 0.7


def _source(path: Path):
    from jepa.config.trajectories import StoreSource

    return StoreSource(kind="store", path=str(path))
