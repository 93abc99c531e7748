import json

import numpy as np
import pytest
import torch

from jepa.config.trajectories import LeRobotSource
from jepa.data.trajectories.episodes import open_episodes
from jepa.data.trajectories.lerobot import open_lerobot
from jepa.errors import DataError, RunError
from jepa.runtime import extras

LENGTHS = (5, 8, 4)
CAMERA = "observation.images.top"
FPS = 8


@pytest.fixture
def pq():
    pytest.importorskip("pyarrow")
    return pytest.importorskip("pyarrow.parquet")


def rows_of(episodes):
    """Row t of episode e: action (e, t), state (e, t, -t)."""
    import pyarrow as pa

    places = [(e, t) for e in episodes for t in range(LENGTHS[e])]
    return pa.table(
        {
            "action": pa.array([[float(e), float(t)] for e, t in places], pa.list_(pa.float32(), 2)),
            "observation.state": pa.array([[e, t, -t] for e, t in places], pa.list_(pa.float64())),
            "gripper": pa.array([float(t) for _, t in places], pa.float32()),
            "frame_index": [t for _, t in places],
            "episode_index": [e for e, _ in places],
        }
    )


def write_info(root, version, data_path, video_path, **changes):
    features = {
        "action": {"dtype": "float32", "shape": [2]},
        "observation.state": {"dtype": "float64", "shape": [3]},
        "gripper": {"dtype": "float32", "shape": [1]},
        CAMERA: {"dtype": "video", "shape": [32, 48, 3]},
    }
    info = {
        "codebase_version": version,
        "chunks_size": 2,
        "fps": FPS,
        "data_path": data_path,
        "video_path": video_path,
        "features": features | changes.pop("features", {}),
    } | changes
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))


@pytest.fixture
def v2(tmp_path, pq, write_video):
    """One file per episode, two episodes per chunk."""
    root = tmp_path / "v2"
    table = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    video = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    write_info(root, "v2.1", table, video)
    lines = []
    for episode, length in enumerate(LENGTHS):
        names = {"episode_chunk": episode // 2, "episode_index": episode, "video_key": CAMERA}
        (root / table.format(**names)).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows_of([episode]), root / table.format(**names))
        write_video(root / video.format(**names), frames=length, fps=FPS)
        lines.append(json.dumps({"episode_index": episode, "tasks": ["t"], "length": length}))
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def v3(tmp_path, pq, write_video):
    """Episodes 0 and 1 share a parquet file and a video; episode 2 has its own."""
    import pyarrow as pa

    root = tmp_path / "v3"
    table = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    write_info(root, "v3.0", table, video)
    for file, episodes in enumerate(((1, 0), (2,))):  # rows of a file in another order than the index
        path = root / table.format(chunk_index=0, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows_of(episodes), path)
        frames = sum(LENGTHS[e] for e in episodes)
        write_video(
            root / video.format(video_key=CAMERA, chunk_index=0, file_index=file), frames=frames, fps=FPS
        )
    starts = [0.0, LENGTHS[0] / FPS, 0.0]
    index = pa.table(
        {
            "episode_index": [0, 1, 2],
            "length": list(LENGTHS),
            "data/chunk_index": [0, 0, 0],
            "data/file_index": [0, 0, 1],
            f"videos/{CAMERA}/chunk_index": [0, 0, 0],
            f"videos/{CAMERA}/file_index": [0, 0, 1],
            f"videos/{CAMERA}/from_timestamp": starts,
            f"videos/{CAMERA}/to_timestamp": [s + n / FPS for s, n in zip(starts, LENGTHS, strict=True)],
            "stats/action/mean": [[0.0], [0.0], [0.0]],
        }
    )
    (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    pq.write_table(index, root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    return root


def source(path, **changes):
    return LeRobotSource(kind="lerobot", path=str(path), **changes)


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_numbers_and_frames_belong_together(request, version, numbers):
    episodes = open_lerobot(source(request.getfixturevalue(version))).episodes
    assert [len(e.frames) for e in episodes] == list(LENGTHS)
    for number, episode in enumerate(episodes):
        length = LENGTHS[number]
        np.testing.assert_array_equal(episode.actions, [[number, t] for t in range(length - 1)])
        np.testing.assert_array_equal(episode.proprio, [[number, t, -t] for t in range(length)])
        assert (episode.rate, episode.proprio.dtype) == (FPS, np.float32)
        # In v3 the second episode lies behind the first in their video.
        first = LENGTHS[0] if version == "v3" and number == 1 else 0
        assert numbers(torch.from_numpy(episode.frames[np.arange(length)])) == list(
            range(first, first + length)
        )


def test_other_columns_and_fewer_episodes(v2):
    episodes = open_lerobot(source(v2, actions="gripper", proprio=None, episodes=2)).episodes
    assert len(episodes) == 2
    np.testing.assert_array_equal(episodes[0].actions[:, 0], np.arange(4))
    assert episodes[0].proprio is None


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_missing_episodes_are_reported_and_skipped(request, version):
    root = request.getfixturevalue(version)
    next(root.glob("videos/**/*episode_000002.mp4" if version == "v2" else "videos/**/file-001.mp4")).unlink()
    opened = open_lerobot(source(root))
    assert [e.name for e in opened.episodes] == ["episode-000000", "episode-000001"]
    assert ["episode 2" in missing.reason for missing in opened.missing] == [True]
    assert not opened.bad


def test_a_damaged_table_is_bad(v2):
    next(v2.glob("data/**/*_000001.parquet")).write_bytes(b"PAR1 and no more")
    opened = open_lerobot(source(v2))
    assert len(opened.episodes) == 2 and "episode 1" in opened.bad[0].reason


def test_lists_of_different_lengths_are_bad(v2, pq):
    import pyarrow as pa

    path = next(v2.glob("data/**/*_000001.parquet"))
    ragged = pa.array([[1.0]] + [[1.0, 2.0]] * 7)
    pq.write_table(pq.read_table(path).set_column(0, "action", ragged), path)
    assert "'action' differ in length" in open_lerobot(source(v2)).bad[0].reason


def test_text_is_no_action(v2, pq):
    import pyarrow as pa

    path = next(v2.glob("data/**/*_000001.parquet"))
    pq.write_table(pq.read_table(path).set_column(0, "action", pa.array(["left"] * 8)), path)
    assert "'action' holds string, not numbers" in open_lerobot(source(v2)).bad[0].reason


def test_a_length_that_differs_from_the_index_is_named(v2):
    path = v2 / "meta" / "episodes.jsonl"
    path.write_text(path.read_text().replace('"length": 8', '"length": 9'))
    with pytest.raises(DataError, match="episode 1 has 9 frames in its index and 8 rows"):
        open_lerobot(source(v2))


def test_nan_is_named_with_its_step(v2, pq):
    import pyarrow as pa

    path = next(v2.glob("data/**/*_000001.parquet"))
    values = [[1.0, float("nan") if t == 3 else 0.0] for t in range(8)]
    pq.write_table(pq.read_table(path).set_column(0, "action", pa.array(values)), path)
    with pytest.raises(DataError, match=r"episode-000001: the action of step 3 is \[1.0, nan\]"):
        open_episodes([source(v2)])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"actions": "act"}, "no column 'act'; the set has action, gripper"),
        ({"proprio": "pose"}, "no column 'pose'"),
        ({"camera": "side"}, f"no camera 'side'; the set has {CAMERA}"),
    ],
)
def test_what_is_not_there_is_named(v2, asked, message):
    with pytest.raises(DataError, match=message):
        open_lerobot(source(v2, **asked))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"version": "v1.6"}, "codebase_version v1.6 is not known"),
        ({"features": {"wrist": {"dtype": "video"}}}, f"2 cameras; name one with `camera`: {CAMERA}, wrist"),
        ({"features": {CAMERA: {"dtype": "image"}}}, "no video; images inside parquet"),
    ],
)
def test_sets_that_cannot_be_read_are_refused(tmp_path, info, message):
    write_info(tmp_path, info.pop("version", "v2.1"), "d", "v", **info)
    with pytest.raises(DataError, match=message):
        open_lerobot(source(tmp_path))


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="no LeRobot data set"):
        open_lerobot(source(tmp_path))


def test_a_video_shorter_than_its_rows_is_unreadable(v2, write_video):
    write_video(next(v2.glob("videos/**/*_000001.mp4")), frames=3, fps=FPS)
    episode = open_lerobot(source(v2)).episodes[1]
    with pytest.raises(DataError, match="has 3 frames, but the episode's 8 frames start at frame 0"):
        episode.frames[np.array([0])]


def test_pyarrow_is_asked_for_by_name(v2, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(RunError, match=r"pyarrow.*jepa\[lerobot\]"):
        open_lerobot(source(v2))


def test_the_real_one(shared_data, pq):
    opened = open_lerobot(source(shared_data / "g1_lerobot"))
    assert (len(opened.episodes), len(opened.missing), len(opened.bad)) == (10, 90, 0)
    first = opened.episodes[0]
    assert first.name == "episode-000001"
    assert (first.actions.shape, first.proprio.shape, first.rate) == ((392, 26), (393, 26), 30)
    assert first.frames[np.array([0, 1])].shape == (2, 480, 640, 3)


def test_several_columns_of_proprioception_stand_side_by_side(v2):
    names = ("observation.state", "action")
    episode = open_lerobot(source(v2, proprio=names)).episodes[1]
    one = open_lerobot(source(v2)).episodes[1]
    np.testing.assert_array_equal(episode.proprio[:, :3], one.proprio)
    np.testing.assert_array_equal(episode.proprio[:-1, 3:], one.actions)
    with pytest.raises(DataError, match="no column 'pose'"):
        open_lerobot(source(v2, proprio=("observation.state", "pose")))
