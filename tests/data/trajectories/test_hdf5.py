import numpy as np
import pytest

from jepa.config.trajectories import Hdf5Source
from jepa.data.trajectories.hdf5 import open_hdf5
from jepa.errors import DataError, RunError
from jepa.runtime import extras

LENGTHS = (4, 6, 3)


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


def write(h5py, path, *, channels_first=False, **changes):
    """Write three episodes: row r is grey r, its action (r, r); an episode's last action is NaN."""
    rows = sum(LENGTHS)
    pixels = np.arange(rows, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 10, 3), np.uint8)
    pixels[..., 1] += 100
    action = np.repeat(np.arange(rows, dtype=np.float32)[:, None], 2, axis=1)
    action[np.cumsum(LENGTHS) - 1] = np.nan
    arrays = {
        "pixels": pixels.transpose(0, 3, 1, 2) if channels_first else pixels,
        "action": action,
        "proprio": np.arange(rows, dtype=np.float64)[:, None],
        "ep_len": np.array(LENGTHS, np.int32),
        "ep_offset": np.cumsum(LENGTHS) - LENGTHS,
    } | changes
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
    return path


def source(path, **changes):
    return Hdf5Source(kind="hdf5", path=str(path), **changes)


@pytest.mark.parametrize("channels_first", [False, True])
def test_rows_become_episodes(tmp_path, h5py, channels_first):
    path = write(h5py, tmp_path / "a.h5", channels_first=channels_first)
    episodes = open_hdf5(source(path, proprio="proprio")).episodes
    assert [len(episode.frames) for episode in episodes] == list(LENGTHS)
    assert [len(episode) for episode in episodes] == [length - 1 for length in LENGTHS]
    second = episodes[1]
    frames = second.frames[np.array([0, 2, 2, 5])]
    assert frames.shape == (4, 8, 10, 3)
    np.testing.assert_array_equal(frames[:, 3, 3, 0], [4, 6, 6, 9])
    np.testing.assert_array_equal(frames[:, 3, 3, 1], [104, 106, 106, 109])
    np.testing.assert_array_equal(second.actions[:, 0], np.arange(4, 9))  # without the NaN that leads nowhere
    np.testing.assert_array_equal(second.proprio[:, 0], np.arange(4, 10))
    assert second.actions.dtype == second.proprio.dtype == np.float32


def test_the_first_episodes_can_be_asked_for(tmp_path, h5py):
    path = write(h5py, tmp_path / "a.h5")
    assert len(open_hdf5(source(path, episodes=2)).episodes) == 2


@pytest.mark.parametrize(
    ("written", "asked", "message"),
    [
        ({"ep_len": None}, {}, "no array 'ep_len'; the file holds"),
        ({}, {"actions": "act"}, "no array 'act'"),
        ({}, {"proprio": "state"}, "no array 'state'"),
        ({"action": np.zeros((9, 2))}, {}, "'action' has 9 rows, but .* need 13"),
        ({"pixels": np.zeros((13, 8, 8, 4), np.uint8)}, {}, r"uint8 \(13, 8, 8, 4\), not uint8 frames"),
        ({"pixels": np.zeros((13, 8, 8, 3))}, {}, "float64"),
        ({"ep_offset": np.zeros(2, np.int64)}, {}, "3 lengths in ep_len and 2 in ep_offset"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, h5py, written, asked, message):
    path = write(h5py, tmp_path / "a.h5", **written)
    with pytest.raises(DataError, match=message):
        open_hdf5(source(path, **asked))


def test_a_file_of_another_kind_is_refused(tmp_path, h5py):
    (tmp_path / "a.h5").write_bytes(b"no hdf5")
    with pytest.raises(DataError, match="cannot be read"):
        open_hdf5(source(tmp_path / "a.h5"))
    with pytest.raises(DataError, match="does not exist"):
        open_hdf5(source(tmp_path / "b.h5"))


def test_h5py_is_asked_for_by_name(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(RunError, match=r"h5py.*jepa\[hdf5\]"):
        open_hdf5(source(tmp_path / "a.h5"))
