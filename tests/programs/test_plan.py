"""Evaluating planners: in an environment, between recorded frames, and what does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict

from jepa.config.envs import TwoRoomEnv
from jepa.config.load import parse
from jepa.config.plan import DatasetGoals, DrawnGoals, PlanConfig
from jepa.config.trajectories import TrajectoryData
from jepa.data.trajectories.episodes import open_episodes
from jepa.envs.two_room import TwoRoom
from jepa.errors import CheckpointError, ConfigError, DataError
from jepa.models.world_model import load_world_model
from jepa.programs import cloning
from jepa.programs import plan as program
from jepa.programs.cloning import clone_behaviour
from jepa.programs.episodes import Outcome
from jepa.programs.plan import build_players, draw_trials, plan, policy_of
from jepa.programs.plan_result import row_of
from jepa.programs.world_model import train_world_model

CEM = {"kind": "cem", "samples": 8, "iterations": 2, "elites": 2}
PLANNERS = [
    {
        "name": "by value",
        "solver": CEM,
        "costs": [{"kind": "value"}, {"kind": "action", "weight": 0.1}],
        "horizon": 3,
    },
    {
        "name": "by latent",
        "solver": {"kind": "mppi", "samples": 8, "iterations": 2},
        "costs": [{"kind": "goal"}],
        "horizon": 2,
    },
]


@pytest.fixture
def plan_config(world, tmp_path):
    def build(**changes: object) -> PlanConfig:
        values = {
            "run_dir": str(tmp_path / "plan"),
            "model": str(world),
            "env": {"kind": "two-room", "size": 16},
            "goals": {"kind": "drawn", "steps": 6},
            "planners": PLANNERS,
            "simulator": {"solver": CEM, "horizon": 3},
            "episodes": 3,
            "seeds": [0, 1],
            "parallel": 2,
            "videos": 2,
            "cloning_steps": 20,
        }
        return parse(values | changes, PlanConfig)

    return build


def test_all_players_play_the_same_episodes(plan_config, capsys):
    result = plan(plan_config())
    rows = result.summary["rows"]
    assert list(rows) == ["by value", "by latent", "random", "behaviour cloning", "simulator"]
    assert {row["start_distance"] for row in rows.values()} == {rows["random"]["start_distance"]}
    assert all(row["episodes"] == 6 and len(row["by_seed"]) == 2 for row in rows.values())
    assert all(len(row["distances"]) == 7 for row in rows.values())
    assert rows["by value"]["decision_s"] > 0 and rows["random"]["decision_s"] is None
    assert json.loads((result.run_dir / "summary.json").read_text()) == json.loads(json.dumps(result.summary))
    report = (result.run_dir / "report.html").read_text()
    assert "behaviour cloning" in report and report.count("data:image/gif") == 5
    assert len(list((result.run_dir / "videos").glob("*.mp4"))) == 10
    assert "by value" in capsys.readouterr().err


def test_the_same_config_gives_the_same_numbers(plan_config, tmp_path):
    two = [
        plan(plan_config(run_dir=str(tmp_path / name), parallel=parallel)).summary["rows"]
        for name, parallel in (("one", 3), ("two", 2))
    ]
    for player in two[0]:
        assert two[0][player]["distances"] == pytest.approx(two[1][player]["distances"], abs=1e-5), (
            player
        )  # batches round differently


def test_planners_never_ask_the_simulator(plan_config, monkeypatch):
    """What only the simulator knows is taken away while a planner acts: it must not notice."""
    whole = plan(plan_config(baselines=(), planners=PLANNERS[:1])).summary["rows"]

    def hidden(*arguments):
        pytest.fail("a planner asked the simulator")

    from jepa.programs.players import PlanningPlayer

    plain = PlanningPlayer.act

    def blind(self, observations, infos):
        with monkeypatch.context() as patch:
            for name in ("copy_step", "set_state", "distance", "distances", "is_success", "draw"):
                patch.setattr(TwoRoom, name, hidden)
            return plain(self, {"pixels": observations["pixels"]}, [])

    monkeypatch.setattr(PlanningPlayer, "act", blind)
    again = plan(plan_config(baselines=(), planners=PLANNERS[:1])).summary["rows"]
    assert whole["by value"]["distances"] == again["by value"]["distances"]


@pytest.fixture
def elsewhere(tmp_path) -> TrajectoryData:
    """The data of a world model that learned from other episodes."""
    return parse({"sources": [{"kind": "store", "path": str(tmp_path / "others")}]}, TrajectoryData)


def test_goals_from_recorded_episodes(rooms, elsewhere):
    goals = DatasetGoals(kind="dataset", source={"kind": "store", "path": str(rooms)}, ahead=5, steps=10)
    trials = list(draw_trials(goals, 0, 8, elsewhere))
    assert [
        np.array_equal(a.state, b.state)
        for a, b in zip(trials, draw_trials(goals, 0, 8, elsewhere), strict=True)
    ] == [True] * 8
    assert not any(
        np.array_equal(a.state, b.state)
        for a, b in zip(trials, draw_trials(goals, 1, 8, elsewhere), strict=True)
    )
    assert len({trial.seed for trial in trials}) == 8
    episodes = [np.load(path)["states"] for path in sorted(Path(rooms).glob("*.npz"))]
    for trial in trials:
        places = [
            (states == trial.state).all(1).nonzero()[0]
            for states in episodes
            if (states == trial.state).all(1).any()
        ]
        assert any(
            (states[at + 5] == trial.goal_state).all()
            for states, found in zip(
                [s for s in episodes if (s == trial.state).all(1).any()], places, strict=True
            )
            for at in found
            if at + 5 < len(states)
        )


def test_recorded_goals_are_of_episodes_that_were_kept_from_training(rooms, world):
    """Where the source is the very one of the training, each named in another way."""
    name = Path(rooms).name
    here, there = (
        f"{Path(rooms).parent}/{name}/../{name}",
        f"{Path(rooms).parent}/../{Path(rooms).parent.name}/{name}",
    )
    goals = DatasetGoals(kind="dataset", source={"kind": "store", "path": here}, ahead=5, steps=10)
    data = load_world_model(world, device="cpu").config.data
    data = data.model_copy(update={"sources": (data.sources[0].model_copy(update={"path": there}),)})
    episodes = open_episodes(data.sources, test_fraction=data.test_fraction)
    trials = list(draw_trials(goals, 0, 40, data))

    def taken(episodes) -> int:  # of all trials; corners of the rooms are in many episodes
        return sum(
            any(
                ((e.states[:-5] == trial.state).all(1) & (e.states[5:] == trial.goal_state).all(1)).any()
                for e in episodes
            )
            for trial in trials
        )

    assert taken(episodes.test) == len(trials) and taken(episodes.train) < len(trials) // 4
    whole = data.model_copy(update={"test_fraction": 0.0})
    with pytest.raises(DataError, match="no episode that the world model was not trained on"):
        list(draw_trials(goals, 0, 1, whole))


def test_the_last_frame_may_be_a_goal(rooms, elsewhere):
    goals = DatasetGoals(kind="dataset", source={"kind": "store", "path": str(rooms)}, ahead=30, steps=10)
    states = [np.load(path)["states"] for path in sorted(Path(rooms).glob("*.npz"))]
    ends = {(tuple(s[0]), tuple(s[30])) for s in states}
    drawn = {(tuple(t.state), tuple(t.goal_state)) for t in draw_trials(goals, 0, 60, elsewhere)}
    assert drawn <= ends and len(drawn) > 6


def test_seeds_draw_other_trials(elsewhere):
    goals = DrawnGoals(kind="drawn")
    one, two = ({trial.seed for trial in draw_trials(goals, seed, 50, elsewhere)} for seed in (0, 1))
    assert len(one) == len(two) == 50 and not one & two


def test_recorded_episodes_that_are_too_short(rooms, elsewhere):
    goals = DatasetGoals(kind="dataset", source={"kind": "store", "path": str(rooms)}, ahead=31, steps=10)
    with pytest.raises(DataError, match="has simulator states and 31 steps"):
        next(draw_trials(goals, 0, 1, elsewhere))


def test_a_row_by_hand():
    near, far = Outcome((1.0, 0.0), True, True), Outcome((1.0, 2.0), False, True)
    row = row_of("x", [[near, far], [far, far]], decision_s=[0.5, 1.5], wall_s=3.0)
    assert (row.episodes, row.success.value, row.reached.value, row.by_seed) == (4, 0.25, 1.0, (0.5, 0.0))
    assert (row.start_distance, row.end_distance, row.decision_s) == (1.0, 1.5, 1.0)


def test_somewhere_to_act_is_needed(plan_config):
    with pytest.raises(ConfigError, match="give an env, or goals of kind recorded"):
        plan_config(env=None)
    with pytest.raises(ConfigError, match="give an env, or goals of kind recorded"):
        plan_config(goals={"kind": "recorded"})


class OneNumber(TwoRoom):
    """Two-Room with actions of one number, and proprioception of three."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self.action_space = Box(-1, 1, (1,), np.float32)
        self.observation_space = Dict(
            pixels=self.observation_space["pixels"], proprio=Box(0, 1, (3,), np.float32)
        )


def test_a_world_model_of_other_actions(plan_config, world_config, monkeypatch):
    config = world_config(data={"frame_skip": 2, "window": 3}, horizon=2)
    train_world_model(config)
    skipping = plan(plan_config(model=config.run_dir, baselines=())).summary["rows"]
    assert len(skipping["by value"]["distances"]) == 7
    monkeypatch.setattr(program, "make_env", OneNumber)
    with pytest.raises(ConfigError, match="actions have 2 numbers over 2 steps, the world model's 4"):
        plan(plan_config(model=config.run_dir))


def test_a_world_model_of_other_proprioception(plan_config, world_config, monkeypatch):
    config = world_config(data={"proprio": True}, value=None, optim={"steps": 1})
    train_world_model(config)
    monkeypatch.setattr(program, "make_env", OneNumber)
    with pytest.raises(ConfigError, match="2 numbers of proprioception, the environment gives"):
        plan(plan_config(model=config.run_dir))


def test_a_value_that_was_not_learned(plan_config, world_config):
    config = world_config(value=None, optim={"steps": 1})
    train_world_model(config)
    with pytest.raises(ConfigError, match="needs a world model with a learned distance in time"):
        plan(plan_config(model=config.run_dir))


def test_no_model(plan_config, tmp_path):
    with pytest.raises(CheckpointError):
        plan(plan_config(model=str(tmp_path)))


def test_a_planner_may_not_be_called_as_a_baseline(plan_config):
    with pytest.raises(ConfigError, match="two rows are called 'random'"):
        plan_config(planners=[PLANNERS[0] | {"name": "random"}])
    recorded = {"env": None, "goals": {"kind": "recorded"}}
    with pytest.raises(ConfigError, match="two rows are called 'mean action'"):
        plan_config(planners=[PLANNERS[0] | {"name": "mean action"}], **recorded)
    assert plan_config(planners=[PLANNERS[0] | {"name": "random"}], **recorded)


def test_the_budget_is_what_is_asked(plan_config):
    """Longer than the environment's own limit: it is truncated there, not here."""
    goals = {"kind": "drawn", "steps": 120}
    few = PLANNERS[1] | {"replan_every": 2}
    summary = plan(
        plan_config(goals=goals, planners=[few], episodes=1, seeds=[0], baselines=["random"], videos=0)
    ).summary
    assert [len(row["distances"]) for row in summary["rows"].values()] == [121, 121]


def test_a_policy_is_what_its_planner_says(world, plan_config):
    model, env = load_world_model(world, device="cpu"), TwoRoom(TwoRoomEnv(kind="two-room", size=16))
    for changes in ({"horizon": 5, "replan_every": 3, "warm_start": False}, {"horizon": 2}):
        (planner,) = plan_config(planners=[PLANNERS[1] | changes]).planners
        policy = policy_of(planner, model, env)
        found = (policy.horizon, policy.replan_every, policy.warm_start)
        assert found == (changes["horizon"], changes.get("replan_every", 1), changes.get("warm_start", True))
        assert (policy.solver.samples, policy.solver.iterations) == (8, 2)


def test_a_planner_keeps_to_its_bounds_and_its_context(plan_config, world):
    model, env = load_world_model(world, device="cpu"), TwoRoom(TwoRoomEnv(kind="two-room", size=16))

    def policy(**changes):
        (planner,) = plan_config(planners=[PLANNERS[1] | changes]).planners
        return policy_of(planner, model, env)

    assert policy().context_frames is None and policy().space.high.tolist() == [1, 1]
    narrow = policy(bounds=[[-0.25, 0.5], [0, 0]], context=1)
    assert narrow.context_frames == 1
    assert (narrow.space.low.tolist(), narrow.space.high.tolist()) == ([-0.25, 0], [0.5, 0])
    with pytest.raises(
        ConfigError, match="bounds: -2 to 2 for action 1 -- the environment's lies between -1 and 1"
    ):
        policy(bounds=[[-1, 1], [-2, 2]])


def test_planning_with_a_trained_model_needs_no_gradient(plan_config):
    torch.set_grad_enabled(True)
    gradient = {"kind": "gradient", "restarts": 2, "iterations": 2}
    planners = [{"name": "gradient", "solver": gradient, "costs": [{"kind": "goal"}], "horizon": 2}]
    assert "gradient" in plan(plan_config(planners=planners, baselines=[], episodes=1)).summary["rows"]


@pytest.mark.parametrize("own", [True, False])
def test_the_simulator_plans_in_environment_steps(plan_config, world_config, own):
    """Beside a world model that skips frames, it looks as far ahead in time unless it is told otherwise."""
    config = world_config(data={"frame_skip": 3, "window": 3}, horizon=1, value=None, optim={"steps": 1})
    train_world_model(config)
    planners = [PLANNERS[1] | {"replan_every": 2, "warm_start": False}]
    given = {"solver": CEM, "horizon": 5} if own else None
    found = build_players(
        plan_config(model=config.run_dir, planners=planners, simulator=given, baselines=["simulator"]),
        load_world_model(config.run_dir, device="cpu"),
        config,
        lambda: TwoRoom(TwoRoomEnv(kind="two-room", size=16)),
    )
    search = found["simulator"].search
    wanted = (5, 1, True, "cem") if own else (6, 6, False, "mppi")
    assert (search.horizon, search.replan_every, search.warm_start, search.solver.kind) == wanted


def test_planners_may_be_called_anything(plan_config):
    planners = [PLANNERS[1] | {"name": name} for name in ("a/b: c", "a b  c")]
    result = plan(plan_config(planners=planners, baselines=[], episodes=1, seeds=[0], videos=1))
    assert len(list((result.run_dir / "videos").glob("*.gif"))) == 2


def test_behaviour_cloning_learns_from_the_training_episodes_alone(world, monkeypatch):
    learned = []
    plain = cloning.fit_behaviour_cloning
    monkeypatch.setattr(
        cloning,
        "fit_behaviour_cloning",
        lambda latents, actions, **k: learned.extend(actions) or plain(latents, actions, **k),
    )
    trained = load_world_model(world, device="cpu").config
    model = load_world_model(world, device="cpu")
    clone_behaviour(model, trained, steps=1, seed=0)
    episodes = open_episodes(trained.data.sources, test_fraction=trained.data.test_fraction)
    assert [a.tolist() for a in learned] == [episode.actions.tolist() for episode in episodes.train]
