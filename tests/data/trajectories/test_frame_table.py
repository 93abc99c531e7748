import numpy as np
import pytest
import torch

from jepa.config.trajectories import FrameTableSource
from jepa.data.trajectories.frame_table import open_frame_table
from jepa.errors import DataError


@pytest.fixture
def table(tmp_path, write_video):
    """Two videos of 24 and 12 frames; row t of run k has steering t, throttle 10 k."""
    for name, frames in (("run_a", 24), ("run_b", 12)):
        write_video(tmp_path / "videos" / f"{name}.mp4", frames=frames)
    rows = [
        f"{run},{t},{t},{10 * k},{t / 2}"
        for k, (run, n) in enumerate((("run_a", 24), ("run_b", 12)))
        for t in range(n)
    ]
    return write_rows(tmp_path, rows)


def write_rows(folder, rows, header="run,frame,steering,throttle,speed"):
    path = folder / "frames.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def source(path, **changes):
    return FrameTableSource(kind="frames", path=str(path), actions=("steering", "throttle"), **changes)


def test_the_action_of_a_row_leads_to_the_next_frame(table, numbers):
    first, second = open_frame_table(source(table, proprio=("speed",))).episodes
    assert (first.name, second.name, len(first), len(second)) == ("run_a", "run_b", 23, 11)
    np.testing.assert_array_equal(first.actions[:, 0], np.arange(23))
    np.testing.assert_array_equal(second.actions[:, 1], np.full(11, 10))
    np.testing.assert_array_equal(second.proprio[:, 0], np.arange(12) / 2)
    assert first.rate == 8
    index = np.array([0, 3, 3, 20])
    assert numbers(torch.from_numpy(first.frames[index])) == index.tolist()


def test_rows_may_start_later_in_the_video(tmp_path, table, numbers):
    path = write_rows(tmp_path, [f"run_a.mp4,{t},0,0,0" for t in range(5, 12)])
    (episode,) = open_frame_table(source(path)).episodes
    assert len(episode.frames) == 7
    assert numbers(torch.from_numpy(episode.frames[np.array([0, 6])])) == [5, 11]


def test_a_video_that_is_not_there_is_missing(tmp_path, table):
    (tmp_path / "videos" / "run_a.mp4").unlink()
    opened = open_frame_table(source(table))
    assert [episode.name for episode in opened.episodes] == ["run_b"]
    assert [missing.path.endswith("run_a") for missing in opened.missing] == [True]


def test_a_video_that_cannot_be_opened_is_bad(tmp_path, table):
    (tmp_path / "videos" / "run_a.mp4").write_bytes(b"")
    opened = open_frame_table(source(table))
    assert len(opened.episodes) == 1 and "empty" in opened.bad[0].reason


def test_a_video_that_is_too_short_is_refused(tmp_path, table):
    path = write_rows(tmp_path, [f"run_b,{t},0,0,0" for t in range(20)])
    with pytest.raises(DataError, match="run_b has rows up to frame 19, but .* has 12 frames"):
        open_frame_table(source(path))


def test_all_lines_that_cannot_be_used_are_named(tmp_path, table):
    rows = [
        "run_a,0,0,0,0",
        "run_a,2,0,0,0",
        "run_a,1,x,0,0",
        "run_a,one,0,0,0",
        "run_a,1,,0,0",
        "run_a,1,inf,0,0",
    ]
    with pytest.raises(DataError) as raised:
        open_frame_table(source(write_rows(tmp_path, rows)))
    message = str(raised.value)
    assert "5 lines cannot be used" in message
    assert "line 3: frame 2 of run_a follows frame 0" in message
    assert "line 4" in message and "line 5: frame must be a whole number, got 'one'" in message
    assert "line 6: '' is no finite number" in message and "line 7: 'inf' is no finite number" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": ("brake",)}, "no column 'brake'; the header names run, frame, steering"),
        ({"videos": "films"}, "films: this folder does not exist"),
        ({"video": "film"}, "no column 'film'"),
    ],
)
def test_what_is_not_there_is_named(table, change, message):
    with pytest.raises(DataError, match=message):
        open_frame_table(source(table).model_copy(update=change))


def test_an_empty_table_is_refused(tmp_path, table):
    with pytest.raises(DataError, match="no row below its header"):
        open_frame_table(source(write_rows(tmp_path, [])))
    table.unlink()
    with pytest.raises(DataError, match="the table cannot be read"):
        open_frame_table(source(table))


def test_the_real_ones(shared_data):
    episodes = open_frame_table(source(shared_data / "driving" / "frames.csv")).episodes
    assert len(episodes) == 35
    assert sum(len(episode.frames) for episode in episodes) == 16_793
    assert {round(episode.rate) for episode in episodes} == {20}
    assert episodes[3].frames[np.array([0, 5, 5])].shape == (3, 120, 160, 3)
