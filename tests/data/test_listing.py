"""Lists as users have them: every form is read, every bad line is named."""

import pytest

from jepa.data.listing import Row, read_list
from jepa.errors import DataError


def listed(tmp_path, text, **how):
    path = tmp_path / "list.csv"
    path.write_text(text)
    return [
        (row.path.removeprefix(f"{tmp_path}/"), row.label, row.start, row.end)
        for row in read_list(path, **how).rows
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a.mp4,3\nb.mp4,0\n", [("a.mp4", "3", 0, None), ("b.mp4", "0", 0, None)]),
        ("path,label\na.mp4,run\n", [("a.mp4", "run", 0, None)]),
        ("a.mp4,run,4,20\nb.mp4,walk\n", [("a.mp4", "run", 4, 20), ("b.mp4", "walk", 0, None)]),
        ("label,video,end_frame,start_frame\nup,a.mp4,9,2\n", [("a.mp4", "up", 2, 9)]),
        ("a.mp4 3\nmy own video.mp4 12\n", [("a.mp4", "3", 0, None), ("my own video.mp4", "12", 0, None)]),
        ("a.mp4\nmy own video.mp4\n", [("a.mp4", None, 0, None), ("my own video.mp4", None, 0, None)]),
        ("path\na.mp4\n", [("a.mp4", None, 0, None)]),
        ("a, b.mp4 3\n", [("a, b.mp4", "3", 0, None)]),
        ('"a, b.mp4",3\n', [("a, b.mp4", "3", 0, None)]),
        ("with space.mp4,two words\n", [("with space.mp4", "two words", 0, None)]),
        ("\ufeffpath,label\r\n\r\na.mp4, 1\r\n", [("a.mp4", "1", 0, None)]),
        ("a.mp4,,5,\n", [("a.mp4", None, 5, None)]),
    ],
)
def test_forms(tmp_path, text, rows):
    assert listed(tmp_path, text) == rows


def test_absolute_paths_stay(tmp_path):
    assert listed(tmp_path, "/data/a.mp4,1\n") == [("/data/a.mp4", "1", 0, None)]


def test_split(tmp_path):
    text = "video,label,split\na.mp4,x,train\nb.mp4,y,test\n"
    assert listed(tmp_path, text, split="test") == [("b.mp4", "y", 0, None)]
    assert read_list(tmp_path / "list.csv", split="test").labels == {"x", "y"}
    with pytest.raises(DataError, match=r"names no video of split 'val'; its splits are \['test', 'train'\]"):
        read_list(tmp_path / "list.csv", split="val")


def test_split_without_a_column(tmp_path):
    with pytest.raises(DataError, match="no header with a 'split' column"):
        listed(tmp_path, "a.mp4,1\n", split="test")


def test_all_bad_lines_are_named(tmp_path):
    with pytest.raises(DataError) as caught:
        listed(tmp_path, "path,label,start,end\na.mp4,1,5,5\nb.mp4,1,2.5,\n,1,,\nd.mp4,1,0,4\n")
    message = str(caught.value)
    assert "3 lines cannot be used" in message
    assert "line 2: end 5 must be greater than start 5" in message
    assert "line 3: start must be a frame number (0, 1, 2, ...), got '2.5'" in message
    assert "line 4: the path is missing" in message


def test_many_bad_lines_are_counted(tmp_path):
    with pytest.raises(DataError, match="30 lines cannot be used[^$]*and 20 more"):
        listed(tmp_path, "a.mp4,1,x,\n" * 30)


def test_some_labels_missing(tmp_path):
    with pytest.raises(DataError, match="1 of 2 rows have no label"):
        listed(tmp_path, "a.mp4 1\nb.mp4\n")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty(tmp_path, text):
    with pytest.raises(DataError, match="the list is empty"):
        listed(tmp_path, text)


def test_only_a_header(tmp_path):
    with pytest.raises(DataError, match="names no video"):
        listed(tmp_path, "path,label\n")


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="the list cannot be read: .*No such file"):
        read_list(tmp_path / "none.csv")


def test_not_text(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="the list cannot be read"):
        read_list(tmp_path / "list.csv")


def test_row_defaults():
    assert Row("a") == Row("a", None, 0, None)
