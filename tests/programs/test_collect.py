import json
import os
import signal
from multiprocessing import Pipe

import numpy as np
import pytest
from gymnasium import spaces

from jepa.config.envs import CollectConfig, GymEnv, TwoRoomEnv
from jepa.config.load import parse
from jepa.config.plan import PlanConfig
from jepa.config.trajectories import StoreSource, TrajectoryData
from jepa.data.trajectories.episodes import open_episodes
from jepa.data.trajectories.store import episode_path, open_store
from jepa.data.trajectories.windows import window_stream
from jepa.envs.policies import random_policy
from jepa.envs.registry import make_env
from jepa.errors import DataError, RunError
from jepa.programs import collect as program
from jepa.programs import recording, recording_processes
from jepa.programs.collect import collect
from jepa.programs.plan import plan
from jepa.programs.recording import Recorder, as_numbers
from jepa.runtime.seeding import derive

CORRIDOR = GymEnv(kind="gymnasium", name="tests.programs.corridor:Corridor-v0", size=16)


def config_of(path, **changes):
    values = {
        "env": TwoRoomEnv(kind="two-room", size=16),
        "path": str(path),
        "episodes": 40,
        "steps": 6,
        "workers": 0,
    }
    return CollectConfig(**(values | changes))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def unbroken(tmp_path):
    collect(config_of(tmp_path / "unbroken"))
    return files(tmp_path / "unbroken")


def test_episodes_are_what_happened(tmp_path):
    result = collect(config_of(tmp_path / "store"))
    assert (result.status, result.episodes, result.recorded, result.steps) == ("done", 40, 40, 240)
    episodes = open_store(StoreSource(kind="store", path=str(tmp_path / "store"))).episodes
    assert len(episodes) == 40
    env = make_env(TwoRoomEnv(kind="two-room", size=16), steps=6)
    for number in (0, 7, 39):  # replayed alone, step by step
        episode = episodes[number]
        policy = random_policy(env)
        policy.reset(derive(0, "policy", number) % 2**31)
        observation, info = env.reset(seed=derive(0, "episode", number) % 2**31)
        frames = episode.frames[np.arange(7)]
        for t in range(6):
            np.testing.assert_array_equal(frames[t], observation["pixels"])
            np.testing.assert_allclose(episode.states[t], info["state"], atol=1e-12)
            np.testing.assert_array_equal(episode.proprio[t], observation["proprio"])
            action = policy(observation, info)
            np.testing.assert_array_equal(episode.actions[t], action)
            observation, reward, _, truncated, info = env.step(action)
            assert episode.rewards[t] == pytest.approx(reward)
        assert truncated and episode.rate == env.metadata["render_fps"]
        np.testing.assert_array_equal(frames[6], observation["pixels"])


def test_a_recorded_store_can_be_learned_from(tmp_path):
    collect(config_of(tmp_path / "store"))
    data = TrajectoryData(
        sources=(StoreSource(kind="store", path=str(tmp_path / "store")),),
        resolution=16,
        workers=0,
        proprio=True,
    )
    episodes = open_episodes(data.sources, test_fraction=0.2, proprio=True)
    windows = next(window_stream(episodes.train, data, seed=0, start_step=0, steps=1))
    assert windows.frames.shape == (128, 4, 3, 16, 16)
    moved = windows.proprio.diff(dim=1)
    assert (
        moved.abs() <= 0.05 * windows.actions.abs() + 1e-5
    ).all()  # a step goes no farther than its action


def test_the_manifest_says_what_was_recorded(tmp_path):
    collect(config_of(tmp_path / "store", episodes=1, seed=5))
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["env"] == {"kind": "two-room", "size": 16, "layout": "standard"}
    assert (manifest["policy"], manifest["seed"], manifest["steps"], manifest["format"]) == (
        "random",
        5,
        6,
        1,
    )
    assert {"jepa", "python", "numpy", "gymnasium"} <= set(manifest["versions"])


def test_a_resumed_recording_equals_an_unbroken_one(tmp_path, unbroken):
    folder = tmp_path / "store"
    collect(config_of(folder, episodes=3))
    collect(config_of(folder, episodes=35))
    for number in (1, 33):
        episode_path(folder, number).unlink()
    untouched = episode_path(folder, 0).stat().st_mtime_ns
    result = collect(config_of(folder))
    assert (result.episodes, result.recorded) == (40, 7)
    assert files(folder) == unbroken
    assert episode_path(folder, 0).stat().st_mtime_ns == untouched


def test_processes_record_the_same(tmp_path, unbroken, monkeypatch):
    monkeypatch.setattr(program, "ALONE_S", 0.0)
    folder = tmp_path / "store"
    result = collect(config_of(folder, workers=2))
    assert (result.status, result.recorded, result.steps) == ("done", 40, 240)
    assert files(folder) == unbroken


def test_another_seed_records_other_episodes(tmp_path, unbroken):
    collect(config_of(tmp_path / "store", seed=1))
    other = files(tmp_path / "store")
    assert other.keys() == unbroken.keys()
    assert not any(other[name] == unbroken[name] for name in other if name.endswith(".npz"))
    assert len(set(unbroken.values())) == 41  # and no two episodes are alike


def test_a_signal_leaves_whole_episodes(tmp_path, unbroken, monkeypatch):
    write, folder = recording_processes.write_episode, tmp_path / "store"

    def interrupted(path, trajectory, *, values):
        write(path, trajectory, values=values)
        if path.name == "episode-000004.npz":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(recording_processes, "write_episode", interrupted)
    result = collect(config_of(folder))
    assert (result.status, result.episodes) == ("interrupted", 32)  # those that were side by side
    assert all(unbroken[name] == content for name, content in files(folder).items())
    monkeypatch.setattr(recording_processes, "write_episode", write)
    assert collect(config_of(folder)).status == "done"
    assert files(folder) == unbroken


def test_a_folder_with_another_recording_is_refused(tmp_path):
    collect(config_of(tmp_path / "store", episodes=1))
    with pytest.raises(DataError, match="another recording .seed: 0, wanted 1"):
        collect(config_of(tmp_path / "store", episodes=1, seed=1))


def test_nothing_is_written_where_the_environment_cannot_be_had(tmp_path, monkeypatch):
    def absent(config, count, *, steps):
        raise RunError("pymunk is not installed")

    monkeypatch.setattr(recording, "make_vector_env", absent)
    with pytest.raises(RunError, match="pymunk"):
        collect(config_of(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_process_that_dies_is_an_error():
    class Killed:
        exitcode = -9

        def join(self): ...

    reading, writing = Pipe(duplex=False)
    writing.send("MuJoCo has no EGL")
    with pytest.raises(RunError, match="^MuJoCo has no EGL$"):
        recording_processes._received(reading, Killed(), is_stopping=False)
    writing.close()
    with pytest.raises(RunError, match="ended with exit code -9; the episodes that are written are whole"):
        recording_processes._received(reading, Killed(), is_stopping=False)
    assert recording_processes._received(reading, Killed(), is_stopping=True) is None


def test_large_images_are_recorded_fewer_at_a_time(tmp_path):
    small = Recorder(config_of(tmp_path))
    large = Recorder(config_of(tmp_path, env=TwoRoomEnv(kind="two-room", size=512)))
    assert small.lanes == 32
    assert 1 < large.lanes < 32


def test_the_expert_reaches_its_goal(tmp_path):
    config = config_of(tmp_path, policy="expert", steps=60)
    recorded = Recorder(config).record(range(32))
    assert np.mean([values["success"] for _, _, values in recorded]) > 0.9
    env = make_env(config.env)
    for _, trajectory, _ in recorded[:3]:
        assert len(trajectory) == 60 and all(
            env.observation_space["proprio"].contains(p) for p in trajectory.proprio
        )


def test_discrete_actions_become_one_hot():
    space = spaces.Discrete(4, start=1)
    assert as_numbers(np.array(3), space).tolist() == [0, 0, 1, 0]
    assert as_numbers(np.float64([0.5, 1]), spaces.Box(-1, 1, (2,))).dtype == np.float32


def test_an_episode_does_not_depend_on_the_one_before(tmp_path):
    recorder = Recorder(config_of(tmp_path))
    alone = recorder.record([3])
    recorder.record([40])
    beside = recorder.record([2, 3])
    np.testing.assert_array_equal(alone[0][1].frames, beside[1][1].frames)
    np.testing.assert_array_equal(alone[0][1].actions, beside[1][1].actions)


def test_an_environment_without_goals_is_recorded_as_it_happens(tmp_path):
    config = config_of(tmp_path / "store", env=CORRIDOR, episodes=30, steps=None)
    result = collect(config)
    episodes = open_store(StoreSource(kind="store", path=config.path)).episodes
    lengths = [len(episode) for episode in episodes]
    assert result.steps == sum(lengths) and 1 <= min(lengths) < max(lengths) == 12
    for episode in episodes:
        assert episode.proprio is None and episode.states is None and episode.rate == 5
        places = episode.frames[np.arange(len(episode) + 1)][:, 0, 0, 0] // 20
        moves = episode.actions.argmax(axis=1) - 1  # one-hot, and the first of them is -1
        np.testing.assert_array_equal(places[1:], np.maximum(0, places[:-1].astype(int) + moves))
        np.testing.assert_array_equal(episode.rewards, places[1:])
        assert len(episode) == 12 or places[-1] == 9
        assert not (places[:-1] == 9).any()
    with np.load(episode_path(tmp_path / "store", 0)) as values:
        assert "seed" in values and "success" not in values


def test_its_resumed_recording_equals_an_unbroken_one_and_that_of_a_process(tmp_path, monkeypatch):
    collect(config_of(tmp_path / "unbroken", env=CORRIDOR, episodes=9))
    whole = files(tmp_path / "unbroken")
    collect(config_of(tmp_path / "store", env=CORRIDOR, episodes=4))
    episode_path(tmp_path / "store", 2).unlink()
    monkeypatch.setattr(program, "ALONE_S", 0.0)
    result = collect(config_of(tmp_path / "store", env=CORRIDOR, episodes=9, workers=1))
    assert (result.status, result.recorded) == ("done", 6)
    assert files(tmp_path / "store") == whole


def test_it_has_no_expert(tmp_path):
    with pytest.raises(RunError, match="has no expert; those with one are two-room"):
        collect(config_of(tmp_path / "store", env=CORRIDOR, policy="expert"))
    assert not (tmp_path / "store").exists()


def test_it_is_not_planned_in(tmp_path):
    planner = {"name": "CEM", "solver": {"kind": "cem"}, "costs": [{"kind": "goal"}], "horizon": 2}
    values = {"run_dir": str(tmp_path / "plan"), "model": "none", "planners": [planner]}
    config = parse(values | {"env": CORRIDOR.model_dump()}, PlanConfig)
    with pytest.raises(RunError, match="Corridor-v0 cannot be put into a state .* goals.kind: recorded$"):
        plan(config)
    assert not (tmp_path / "plan").exists()
