"""Pairs are the same up to the event, differ after it, and no look at single frames tells them apart."""

import csv
from collections import Counter

import numpy as np
import pytest

from jepa.data.decode import open_video
from jepa.data.physics import KINDS, TESTING, draw_scene
from jepa.data.violations import PAIRS, read_pairs, write_violations
from jepa.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs")
    assert write_violations(path, pairs=4, seed=11, frames=20, size=32) == path / PAIRS
    return path


def frames_of(path):
    with open_video(str(path)) as video:
        return video.read(range(video.info.frames)).numpy()


def test_pairs_are_the_same_up_to_the_event_alone(folder):
    pairs = read_pairs(folder)
    assert Counter(pair.kind for pair in pairs) == dict.fromkeys(KINDS, 4)
    for pair in pairs:
        possible, impossible = frames_of(pair.possible), frames_of(pair.impossible)
        assert possible.shape == impossible.shape == (20, 32, 32, 3)
        assert 0 < pair.event_frame < 19
        np.testing.assert_array_equal(possible[: pair.event_frame], impossible[: pair.event_frame])
        after = np.abs(possible[pair.event_frame :].astype(int) - impossible[pair.event_frame :])
        assert after[0].any() and after[:2].max() > 40  # at first perhaps a sliver
        assert (after.max(axis=(1, 2, 3)) > 40).sum() >= 3


def test_the_possible_video_is_the_lawful_one(folder):
    for pair in read_pairs(folder):
        kind, number = pair.name.split("-")
        scene = draw_scene(kind, int(number) // 2, part=TESTING, seed=11, frames=20)
        lawful = scene.possible(int(number) % 2, size=32).astype(int)
        errors = [np.abs(lawful - frames_of(path)).mean() for path in (pair.possible, pair.impossible)]
        assert errors[0] < 5 and errors[0] < errors[1]  # coarse colours and compression cost a little


def test_what_follows_is_seen_on_both_sides(folder):
    """Behind an occluder, all frames of two neighbouring pairs occur once as possible, once as impossible ones."""
    for kind in ("vanish", "teleport", "change"):
        pairs = [pair for pair in read_pairs(folder) if pair.kind == kind]
        for one, other in zip(pairs[::2], pairs[1::2], strict=True):
            start = max(one.event_frame, other.event_frame)
            for mine, theirs in ((one, other), (other, one)):
                swapped = frames_of(mine.impossible)[start:].astype(int) - frames_of(theirs.possible)[start:]
                assert np.abs(swapped).mean() < 1  # but for compression


def test_another_seed_gives_other_videos(tmp_path, folder):
    write_violations(tmp_path, pairs=2, seed=12, frames=20, size=32)
    one, other = read_pairs(folder)[0], read_pairs(tmp_path)[0]
    assert (frames_of(one.possible) != frames_of(other.possible)).any()


@pytest.mark.parametrize(("pairs", "message"), [(3, "give an even number"), (0, "count must be at least 1")])
def test_numbers_out_of_range(tmp_path, pairs, message):
    with pytest.raises(DataError, match=message):
        write_violations(tmp_path, pairs=pairs, seed=0)


def write(folder, *rows, header="path,pair,kind,possible,event_frame"):
    for name in "abcd":
        (folder / f"{name}.mp4").touch()
    (folder / PAIRS).write_text("\n".join([header, *rows]) + "\n")


def test_lists_of_ones_own(tmp_path):
    rows = ["7,p,x,1,a.mp4", "7,p,x,0,b.mp4"]
    write(tmp_path, *rows, header="event_frame,pair,kind,possible,path")
    (pair,) = read_pairs(str(tmp_path))
    assert (pair.name, pair.kind, pair.event_frame) == ("p", "x", 7)
    assert (pair.possible, pair.impossible) == (tmp_path / "a.mp4", tmp_path / "b.mp4")


def test_no_list(tmp_path):
    with pytest.raises(DataError, match=r"pairs\.csv: this list of pairs cannot be read .*give a folder"):
        read_pairs(tmp_path)


def test_no_pair(tmp_path):
    write(tmp_path)
    with pytest.raises(DataError, match="there is no pair; it needs a header path,pair,kind"):
        read_pairs(tmp_path)


def test_missing_columns(tmp_path):
    write(tmp_path, "a.mp4,p,x", header="path,pair,kind")
    with pytest.raises(DataError, match=r"the columns \['possible', 'event_frame'\] are missing"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        ["a.mp4,p,x,1,7"],
        ["a.mp4,p,x,1,7", "b.mp4,p,x,1,7"],
        ["a.mp4,p,x,1,7", "b.mp4,p,x,0,8"],
        ["a.mp4,p,x,1,7", "b.mp4,p,y,0,7"],
        ["a.mp4,p,x,1,7", "b.mp4,p,x,0,7", "c.mp4,p,x,0,7"],
    ],
    ids=["alone", "both possible", "two events", "two kinds", "three"],
)
def test_unmatched_pairs(tmp_path, rows):
    write(tmp_path, *rows)
    with pytest.raises(
        DataError, match="pair 'p' has . videos, . of them possible; it needs one possible and"
    ):
        read_pairs(tmp_path)


@pytest.mark.parametrize("row", ["a.mp4,p,x,yes,7", "a.mp4,p,x,1,-7", "a.mp4,p,x,1"])
def test_lines_that_cannot_be_understood(tmp_path, row):
    write(tmp_path, row)
    with pytest.raises(DataError, match="line 2: possible must be 0 or 1, got .*correct the line"):
        read_pairs(tmp_path)


def test_missing_videos(tmp_path):
    write(tmp_path, "a.mp4,p,x,1,7", "gone.mp4,p,x,0,7")
    with pytest.raises(DataError, match=r"1 of 2 videos are missing, first .*gone\.mp4"):
        read_pairs(tmp_path)


def test_the_list_says_what_was_written(folder):
    with (folder / PAIRS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 4 * len(KINDS)
    assert sorted(row["path"] for row in rows) == sorted(path.name for path in folder.glob("*.mp4"))
