"""`jepa plan` with published weights, which come without the episodes that they were trained on."""

import numpy as np
import pytest
import torch

from jepa.config.load import parse
from jepa.config.plan import PlanConfig
from jepa.data.trajectories.store import StoreManifest, episode_path, write_episode, write_manifest
from jepa.errors import ConfigError, DataError
from jepa.models.poses import moves
from jepa.programs import offline
from jepa.programs.plan import draw_trials, plan
from jepa.types import Trajectory
from tests.models.formats.vjepa2_ac_reference import make_encoder, make_predictor, write_checkpoint

SKIP, EPISODES, STEPS = 2, 2, 5
SOLVER = {
    "kind": "cem-mean",
    "samples": 4,
    "iterations": 1,
    "elites": 2,
    "dead_zone": [0, 0, 0, 0, 0, 0, 0.25],
}
BOUNDS = [[-0.05, 0.05]] * 3 + [[0, 0]] * 3 + [[-0.75, 0.75]]
PLANNER = {
    "name": "CEM",
    "solver": SOLVER,
    "bounds": BOUNDS,
    "costs": [{"kind": "goal", "distance": "l1"}],
    "horizon": 1,
}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A checkpoint as released, of a small encoder and predictor."""
    path = tmp_path_factory.mktemp("released") / "vjepa2-ac-vitg.pt"
    return write_checkpoint(
        path, make_encoder(width=192, depth=1), make_predictor(dim=192, width=192, depth=1)
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Episodes of an arm: images, commands that mean nothing, and poses."""
    folder = tmp_path_factory.mktemp("recorded") / "arm"
    write_manifest(folder, StoreManifest(env={"kind": "arm"}, policy="hand"))
    draw = np.random.default_rng(0)
    for number in range(EPISODES):
        poses = draw.uniform(0, 0.6, (STEPS + 1, 7)).astype(np.float32)
        frames = draw.integers(0, 256, (STEPS + 1, 32, 32, 3), dtype=np.uint8)
        commands = np.zeros((STEPS, 2), np.float32)
        write_episode(
            episode_path(folder, number), Trajectory(f"episode {number}", frames, commands, proprio=poses)
        )
    return folder


@pytest.fixture
def config(released, recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "LANDSCAPE_PAIRS", 1)
    plain = offline.landscape
    monkeypatch.setattr(offline, "landscape", lambda *a, **k: plain(*a, **k, side=3))

    def build(*, goals=None, **changes):
        data = {"sources": [{"kind": "store", "path": str(recorded)}], "frame_skip": SKIP, "workers": 0}
        values = {
            "run_dir": str(tmp_path / "plan"),
            "model": f"vjepa2-ac:{released}",
            "goals": {"kind": "recorded", "ahead": 1, "actions": "poses", "data": data} | (goals or {}),
            "planners": [PLANNER],
            "baselines": [],
            "device": "cpu",
        }
        return parse(values | changes, PlanConfig)

    return build


def test_moves_of_the_pose_are_looked_for_between_frames_of_named_episodes(config, recorded, monkeypatch):
    pairs = []
    plain = offline._encoded
    monkeypatch.setattr(offline, "_encoded", lambda *a: pairs.append(plain(*a)) or pairs[-1])
    result = plan(config())
    summary = result.summary
    assert summary["pairs"] == EPISODES * (STEPS // SKIP) and summary["prediction"] is None
    poses = [np.load(episode_path(recorded, number))["proprio"] for number in range(EPISODES)]
    wanted = {tuple(one[[t, t + SKIP]].ravel()) for one in poses for t in range(0, STEPS - SKIP + 1, SKIP)}
    found = set()
    for state, action in zip(pairs[0].proprio[:, 0], pairs[0].actions[:, 0], strict=True):
        (match,) = [one for one in wanted if torch.equal(torch.tensor(one[:7]), state)]
        start, end = torch.tensor(match).view(2, 7)
        torch.testing.assert_close(action, moves(start, end))
        found.add(match)
    assert found == wanted
    assert set(summary["landscape"]["CEM"]["axes"]) <= {0, 1, 2, 6}  # what is searched
    assert list(summary["recovery"]) == ["random action", "mean action", "CEM"]
    assert (result.run_dir / "report.html").is_file()


def test_planned_actions_keep_to_the_bounds_and_are_measured_in_deviations_of_the_pairs(config, monkeypatch):
    seen = []
    plain = offline.recovery
    monkeypatch.setattr(offline, "recovery", lambda *a, **k: seen.append((*a, k["std"])) or plain(*a, **k))
    plan(config())
    (drawn, actions, std), (mean, _, _), (planned, _, _) = seen
    torch.testing.assert_close(std, actions.flatten(0, 1).std(dim=0, correction=0))
    torch.testing.assert_close(mean, actions.mean(dim=(0, 1)).expand_as(mean))
    assert (drawn >= actions.amin(dim=(0, 1))).all() and (drawn <= actions.amax(dim=(0, 1))).all()
    assert planned[..., :3].abs().max() <= 0.05 and (planned[..., 3:6] == 0).all()


def test_published_weights_need_episodes_to_be_named(config, released):
    with pytest.raises(ConfigError, match=f"goals.data: vjepa2-ac:{released} came without the episodes"):
        plan(config(goals={"data": None}))


def test_the_behaviour_of_unknown_episodes_cannot_be_cloned(config, tmp_path):
    acting = {"env": {"kind": "two-room", "size": 16}, "goals": {"kind": "drawn"}}
    given = config().model_dump() | acting | {"baselines": ["random", "behaviour cloning"]}
    with pytest.raises(ConfigError, match="behaviour cloning learns from the episodes .* leave it out"):
        plan(parse(given, PlanConfig))
    assert not (tmp_path / "plan").exists()


def test_poses_need_proprioception(config, world):
    with pytest.raises(DataError, match="needs a world model that takes proprioception"):
        plan(config(model=str(world), planners=[PLANNER | {"bounds": None}]))


def test_nothing_is_known_to_have_been_learned_from(recorded):
    from jepa.config.plan import DatasetGoals

    source = {"kind": "store", "path": str(recorded)}
    goals = DatasetGoals.model_validate({"kind": "dataset", "source": source, "ahead": 2}, strict=False)
    with pytest.raises(DataError, match="has simulator states"):  # none is left out, but none has states
        list(draw_trials(goals, 0, 3, None))
