import numpy as np
import pytest

from jepa.config.trajectories import DemonstrationSource
from jepa.data.trajectories.demonstrations import open_demonstrations
from jepa.data.trajectories.episodes import open_episodes
from jepa.errors import DataError


def write(path, frames=6, stack=3):
    """Write an episode in which frame t is grey 10 t; action[t] made frame t."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(frames)
    stacked = np.stack([np.maximum(0, t - back) for back in range(stack)[::-1]], axis=1)  # newest last
    observation = np.repeat(stacked, 3, axis=1)[:, :, None, None] * np.ones((1, 1, 8, 8)) * 10
    observation[:, 1::3] += 1  # green
    np.savez_compressed(
        path,
        observation=observation.astype(np.uint8),
        action=np.stack([t, t * 2.0], axis=1).astype(np.float32),
        reward=t[:, None].astype(np.float32),
    )


def source(path, **changes):
    return DemonstrationSource(kind="demonstrations", path=str(path), **changes)


def test_the_newest_frame_and_the_shifted_action_are_read(tmp_path):
    write(tmp_path / "door" / "a.npz")
    (episode,) = open_demonstrations(source(tmp_path, rate=5.0)).episodes
    frames = episode.frames[np.arange(6)]
    assert frames.shape == (6, 8, 8, 3)
    np.testing.assert_array_equal(frames[:, 0, 0, 0], np.arange(6) * 10)
    np.testing.assert_array_equal(frames[:, 0, 0, 1], np.arange(6) * 10 + 1)
    # action[t] of the file made frame t: ours leads from frame t to frame t + 1
    np.testing.assert_array_equal(episode.actions[:, 0], np.arange(1, 6))
    np.testing.assert_array_equal(episode.rewards, np.arange(1, 6))
    assert (episode.name, episode.rate) == ("door/a", 5.0)


def test_a_broken_file_is_reported(tmp_path):
    write(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"x")
    np.savez(tmp_path / "c.npz", action=np.zeros((3, 1)))
    np.savez(tmp_path / "d.npz", observation=np.zeros((3, 9, 4, 4)), action=np.zeros((3, 1)))
    opened = open_demonstrations(source(tmp_path))
    assert len(opened.episodes) == 1
    reasons = " ".join(bad.reason for bad in opened.bad)
    assert "no npz file" in reasons and "no array 'observation'" in reasons and "float64" in reasons


def test_lengths_that_differ_are_named(tmp_path):
    write(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", observation=np.zeros((5, 9, 4, 4), np.uint8), action=np.zeros((4, 2)))
    with pytest.raises(DataError, match="b: 5 frames and 3 actions"):
        open_episodes([source(tmp_path)])


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="no episode found"):
        open_demonstrations(source(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        open_demonstrations(source(tmp_path / "nowhere"))


def test_the_real_ones(shared_data):
    episodes = open_demonstrations(source(shared_data / "metaworld")).episodes
    assert len(episodes) == 30
    assert all(len(e) == 100 and len(e.frames) == 101 and e.actions.shape == (100, 4) for e in episodes)
    assert episodes[0].frames[np.array([0, 100])].shape == (2, 64, 64, 3)
    with np.load(shared_data / "metaworld" / f"{episodes[0].name}.npz") as arrays:
        np.testing.assert_array_equal(episodes[0].actions, arrays["action"][1:])
