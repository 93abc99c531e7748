import json
import os
from dataclasses import replace

import numpy as np
import pytest

from jepa.config.trajectories import StoreSource
from jepa.data.trajectories import store
from jepa.data.trajectories.store import (
    StoreManifest,
    episode_path,
    missing_episodes,
    open_episode,
    open_store,
    read_manifest,
    write_episode,
    write_manifest,
)
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.types import Trajectory
from tests.data.trajectories.numbered import numbered

MANIFEST = StoreManifest(env={"kind": "two-room", "size": 64}, policy="random", seed=3)


def random_episode(steps=7, seed=0):
    draws = np.random.default_rng(seed)
    return Trajectory(
        name="episode-000000",
        frames=draws.integers(0, 256, (steps + 1, 12, 20, 3), dtype=np.uint8),
        actions=draws.normal(size=(steps, 2)).astype(np.float32),
        rate=10.0,
        proprio=draws.normal(size=(steps + 1, 3)).astype(np.float32),
        rewards=draws.normal(size=steps).astype(np.float32),
        states=draws.normal(size=(steps + 1, 4)),
    )


def test_what_is_written_is_read(tmp_path):
    written = random_episode()
    write_episode(tmp_path / "episode-000000.npz", written, values={"success": True})
    read = open_episode(tmp_path / "episode-000000.npz")
    index = np.array([0, 2, 2, 7])
    np.testing.assert_array_equal(read.frames[index], written.frames[index])
    for name in ("actions", "proprio", "rewards", "states"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == getattr(written, name).dtype
    assert (read.name, read.rate, len(read), len(read.frames)) == (written.name, 10.0, 7, 8)
    with np.load(tmp_path / "episode-000000.npz") as arrays:  # an ordinary npz for everybody else
        assert arrays["success"]
        np.testing.assert_array_equal(arrays["frames"], written.frames)


def test_what_an_episode_lacks_is_none(tmp_path):
    bare = Trajectory("bare", random_episode().frames, random_episode().actions)
    write_episode(tmp_path / "episode-000000.npz", bare)
    read = open_episode(tmp_path / "episode-000000.npz")
    assert (read.rate, read.proprio, read.rewards, read.states) == (None, None, None, None)


def test_frames_are_mapped_and_the_file_is_closed(tmp_path):
    path = tmp_path / "episode-000000.npz"
    write_episode(path, random_episode())
    opened = [open_episode(path) for _ in range(20)]
    assert isinstance(opened[0].frames.member.read(), np.memmap)
    descriptors = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    targets = [os.readlink(f"/proc/self/fd/{d}") for d in descriptors if os.path.exists(f"/proc/self/fd/{d}")]
    assert str(path) not in targets


def test_frames_of_a_compressed_file_are_the_same(tmp_path):
    written, path = random_episode(), tmp_path / "episode-000000.npz"
    np.savez_compressed(path, frames=written.frames, actions=written.actions)
    read = open_episode(path)
    assert read.frames.member.offset is None
    np.testing.assert_array_equal(read.frames[np.arange(8)], written.frames)


def test_the_same_episode_gives_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_episode(tmp_path / name, random_episode(), values={"success": False})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_interrupted_write_leaves_no_episode(tmp_path, monkeypatch):
    def die(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(store.np, "savez", die)
    with pytest.raises(KeyboardInterrupt):
        write_episode(episode_path(tmp_path, 0), random_episode())
    assert missing_episodes(tmp_path, 2) == [0, 1]


def test_missing_episodes_are_those_not_written(tmp_path):
    assert missing_episodes(tmp_path / "nowhere", 2) == [0, 1]
    for number in (0, 2):
        write_episode(episode_path(tmp_path, number), random_episode())
    assert missing_episodes(tmp_path, 4) == [1, 3]


def test_lengths_must_fit_when_writing(tmp_path):
    wrong = replace(random_episode(), actions=np.zeros((3, 2), np.float32))
    with pytest.raises(DataError, match="8 frames and 3 actions"):
        write_episode(tmp_path / "a.npz", wrong)


def test_a_value_may_not_hide_an_array(tmp_path):
    with pytest.raises(DataError, match="'frames' has the name of an array"):
        write_episode(tmp_path / "a.npz", random_episode(), values={"frames": 1.0})


def test_a_store_goes_on_with_the_same_recording_only(tmp_path):
    folder = tmp_path / "store"
    write_manifest(folder, MANIFEST)
    write_manifest(folder, replace(MANIFEST, versions={"jepa": "later"}))
    assert read_manifest(folder) == MANIFEST
    with pytest.raises(DataError, match="another recording .policy: 'random', wanted 'expert'"):
        write_manifest(folder, replace(MANIFEST, policy="expert"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").write_text("x")
    with pytest.raises(DataError, match="not empty and holds no episodes"):
        write_manifest(tmp_path / "other", MANIFEST)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(DataError, match="no store of episodes.*`jepa data collect`"):
        open_store(StoreSource(kind="store", path=str(tmp_path)))
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match="format 99 is not known; this version reads format 1"):
        open_store(StoreSource(kind="store", path=str(tmp_path)))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_store(StoreSource(kind="store", path=str(tmp_path)))


def test_a_store_without_episodes_is_refused(tmp_path):
    write_manifest(tmp_path / "store", MANIFEST)
    with pytest.raises(DataError, match="no episode found"):
        open_store(StoreSource(kind="store", path=str(tmp_path / "store")))


def test_a_damaged_episode_is_reported(write_store):
    source = write_store([numbered(0, 5), numbered(1, 5), numbered(2, 5)])
    damaged = episode_path(store.Path(source.path), 1)
    damaged.write_bytes(damaged.read_bytes()[:300])
    opened = open_store(source)
    assert [episode.name for episode in opened.episodes] == ["episode-000000", "episode-000002"]
    assert [(bad.path, "no npz file" in bad.reason) for bad in opened.bad] == [(str(damaged), True)]


def test_the_first_episodes_can_be_asked_for(write_store):
    source = write_store([numbered(k, 5) for k in range(4)])
    opened = open_store(source.model_copy(update={"episodes": 2}))
    assert [episode.name for episode in opened.episodes] == ["episode-000000", "episode-000001"]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"frames": np.zeros((3, 4, 4, 3), np.uint8)}, "holds no array 'actions'"),
        ({"frames": np.zeros((3, 4, 4, 3)), "actions": np.zeros((2, 1))}, "frames are float64"),
        (
            {"frames": np.zeros((3, 3, 4, 4), np.uint8), "actions": np.zeros((2, 1))},
            r"\(3, 3, 4, 4\), not uint8",
        ),
    ],
)
def test_a_file_with_something_else_is_unreadable(tmp_path, arrays, reason):
    np.savez(tmp_path / "episode-000000.npz", **arrays)
    with pytest.raises(UnreadableError, match=reason):
        open_episode(tmp_path / "episode-000000.npz")


def test_python_objects_are_not_read(tmp_path):
    path = tmp_path / "episode-000000.npz"
    np.savez(path, frames=np.zeros((2, 4, 4, 3), np.uint8), actions=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnreadableError, match="Python objects"):
        open_episode(path)


def test_frames_whose_file_is_gone_are_unreadable(tmp_path):
    path = tmp_path / "episode-000000.npz"
    write_episode(path, random_episode())
    read = open_episode(path)
    path.unlink()
    with pytest.raises(UnreadableError, match="episode-000000"):
        read.frames[np.array([0])]
