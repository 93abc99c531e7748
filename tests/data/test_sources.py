"""Folders and lists become entries; what is missing is said at once and together."""

import pytest

from jepa.config.data import FileSource
from jepa.data.sources import open_source, open_sources
from jepa.errors import DataError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def source(kind, path, **more):
    return FileSource(kind=kind, path=str(path), **more)


def labels(opened):
    return [opened.classes[entry.label] for entry in opened.entries]


def test_tree(tmp_path):
    touch(
        tmp_path,
        "run/b.mp4",
        "run/deep/a.MKV",
        "jump/c.avi",
        "jump/.hidden.mp4",
        ".cache/d.mp4",
        "jump/notes.txt",
    )
    opened = open_source(source("folder", tmp_path))
    assert [entry.path.removeprefix(f"{tmp_path}/") for entry in opened.entries] == [
        "jump/c.avi",
        "run/b.mp4",
        "run/deep/a.MKV",
    ]
    assert (opened.classes, labels(opened), opened.modality) == (
        ("jump", "run"),
        ["jump", "run", "run"],
        "video",
    )


def test_flat_folder_has_no_labels(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    opened = open_source(source("folder", tmp_path))
    assert (opened.classes, [entry.label for entry in opened.entries]) == ((), [None, None])


def test_images(tmp_path):
    touch(tmp_path, "hat/a.jpg", "shoe/b.PNG", "shoe/c.mp4")
    opened = open_source(source("images", tmp_path))
    assert (opened.modality, labels(opened)) == ("image", ["hat", "shoe"])


def test_links_in_circles_end(tmp_path):
    touch(tmp_path, "run/a.mp4")
    (tmp_path / "run" / "again").symlink_to(tmp_path)
    assert len(open_source(source("folder", tmp_path)).entries) == 1


def test_linked_folders_are_followed(tmp_path):
    touch(tmp_path, "store/a.mp4")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "run").symlink_to(tmp_path / "store")
    assert labels(open_source(source("folder", tmp_path / "set"))) == ["run"]


def test_integer_labels_are_class_numbers(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "l.csv").write_text("a.mp4,2\nb.mp4,0\n")
    opened = open_source(source("csv", tmp_path / "l.csv"))
    assert (opened.classes, [entry.label for entry in opened.entries]) == (("0", "1", "2"), [2, 0])


@pytest.mark.parametrize("names", [("007", "8"), ("3", "123456789"), ("-1", "2")])
def test_numbers_that_are_names_stay_names(tmp_path, names):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "l.csv").write_text(f"a.mp4,{names[0]}\nb.mp4,{names[1]}\n")
    assert open_source(source("csv", tmp_path / "l.csv")).classes == tuple(sorted(names))


def test_splits_of_a_file_number_their_classes_alike(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "l.csv").write_text("path,label,split\na.mp4,x,train\nb.mp4,y,test\n")
    opened = open_source(source("csv", tmp_path / "l.csv", split="test"))
    assert (opened.classes, opened.entries[0].label) == (("x", "y"), 1)


def test_classes_of_another_list(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "l.csv").write_text("a.mp4,y\n")
    config = source("csv", tmp_path / "l.csv")
    assert open_source(config, classes=("x", "y")).entries[0].label == 1
    with pytest.raises(DataError, match=r"labels \['y'\] are not among the 1 known classes \(x\)"):
        open_source(config, classes=("x",))


def test_parts_of_files(tmp_path):
    touch(tmp_path, "v/a.mp4")
    (tmp_path / "l.csv").write_text("v/a.mp4,1,0,16\nv/a.mp4,0,16,32\n")
    opened = open_source(source("csv", tmp_path / "l.csv"))
    assert [(entry.start, entry.end) for entry in opened.entries] == [(0, 16), (16, 32)]
    assert opened.files == 1


def test_problems_of_all_sources_come_together(tmp_path):
    touch(tmp_path, "here.mp4", "empty/readme.txt")
    (tmp_path / "l.csv").write_text("here.mp4\n" + "".join(f"gone/{i:02}.mp4\n" for i in range(12)))
    configs = [
        source("csv", tmp_path / "l.csv"),
        source("folder", tmp_path / "nowhere"),
        source("folder", tmp_path / "empty"),
        source("images", tmp_path / "empty"),
    ]
    with pytest.raises(DataError) as caught:
        open_sources(configs)
    message = str(caught.value)
    assert "12 of 13 files are missing" in message
    assert "gone/00.mp4" in message and "gone/09.mp4" in message and "gone/10.mp4" not in message
    assert "and 2 more" in message
    assert "nowhere: this folder does not exist" in message
    assert "no video found — files must end in one of .mp4" in message
    assert "no image found — files must end in one of .jpg" in message


def test_real_lists(shared_data):
    train = open_source(source("csv", shared_data / "driving" / "clips.csv", split="train"))
    assert train.classes == ("hard_left", "hard_right", "left", "right", "straight")
    assert 0 < train.files < 35 and all(entry.end - entry.start == 16 for entry in train.entries)
    assert len(open_source(source("folder", shared_data / "shapes" / "videos")).entries) == 135
