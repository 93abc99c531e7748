"""What a list names is there; with a confine it is also inside, whatever way the path takes."""

import pytest

from jepa.config.data import FileSource, ShardSource, SyntheticSource
from jepa.data.entries import ColumnsBuilder
from jepa.data.presence import Confine, check_files, count_files
from jepa.data.sources import open_source, open_sources
from jepa.errors import DataError


@pytest.fixture
def world(tmp_path):
    """A root with a video, and another video beside it."""
    for name in ("root/videos/a.mp4", "outside/b.mp4", "root-2/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def open_list(world, *lines, confine="root"):
    listed = world / "root" / "list.csv"
    listed.write_text("path\n" + "".join(f"{line}\n" for line in lines))
    source = FileSource(kind="csv", path=str(listed))
    return open_source(source, confine=None if confine is None else str(world / confine))


def columns(*paths):
    builder = ColumnsBuilder()
    for path in paths:
        builder.append(path)
    return builder.build()


def test_what_lies_inside_is_read(world):
    (world / "root" / "link.mp4").symlink_to(world / "root" / "videos" / "a.mp4")
    (world / "other-way").symlink_to(world / "root")
    lines = ["videos/a.mp4", "videos/../videos/a.mp4", "link.mp4", f"{world}/other-way/videos/a.mp4"]
    assert len(open_list(world, *lines).entries) == 4


@pytest.mark.parametrize(
    "line",
    [
        "../outside/b.mp4",
        "videos/../../outside/b.mp4",
        "{world}/outside/b.mp4",
        "file://{world}/outside/b.mp4",
        "../root-2/c.mp4",
        "link.mp4",
        "linked/b.mp4",
        "twice/b.mp4",
        "s3://bucket/a.mp4",
    ],
)
def test_what_lies_outside_is_refused(world, line):
    (world / "root" / "link.mp4").symlink_to(world / "outside" / "b.mp4")
    (world / "root" / "linked").symlink_to(world / "outside")
    (world / "root" / "twice").symlink_to(world / "root" / "linked")
    line = line.format(world=world)
    with pytest.raises(
        DataError, match=r"list.csv: 1 paths lie outside data.confine = .*root \(after links and"
    ):
        open_list(world, "videos/a.mp4", line)
    if not line.startswith("s3"):
        assert len(open_list(world, "videos/a.mp4", line, confine=None).entries) == 2


def test_only_the_first_of_many_are_named(world):
    with pytest.raises(DataError, match=r"25 paths lie outside(.|\n)*and 15 more — move the files there"):
        open_list(world, *(f"s3://bucket/{number}.mp4" for number in range(25)))


def test_sources_themselves_lie_inside(world):
    outside = str(world / "outside")
    configs = [
        FileSource(kind="folder", path=outside),
        FileSource(kind="csv", path=f"{outside}/list.csv"),
        SyntheticSource(kind="synthetic", path=f"{outside}/new", videos=2),
        ShardSource(kind="shards", path=str(world / "root" / ".." / "outside" / "s.tar")),
        ShardSource(kind="shards", path="s3://bucket/s-{0..3}.tar"),
    ]
    (world / "outside" / "s.tar").touch()
    with pytest.raises(DataError) as caught:
        open_sources(configs, confine=str(world / "root"))
    assert str(caught.value).count("lie outside data.confine") == 5
    assert not (world / "outside" / "new").exists()  # nothing was written there


def test_links_in_a_folder_are_followed_to_where_they_lead(world):
    folder = FileSource(kind="folder", path=str(world / "root"))
    assert len(open_source(folder, confine=str(world / "root")).entries) == 1
    (world / "root" / "videos" / "linked").symlink_to(world / "outside")
    assert len(open_source(folder).entries) == 2
    with pytest.raises(DataError, match=r"outside data.confine(.|\n)*videos/linked/b.mp4"):
        open_source(folder, confine=str(world / "root"))


def test_a_confine_that_is_not_there(world):
    with pytest.raises(DataError, match=r"data.confine: .*none is not an existing folder"):
        Confine.to(str(world / "none"))
    assert Confine.to(None) is None


def test_missing_files_are_told_by_folder(world):
    present = [str(world / "root" / "videos" / "a.mp4"), str(world / "outside" / "b.mp4")]
    check_files("list", columns(*present))
    with pytest.raises(DataError, match="list: 2 of 4 files are missing") as caught:
        check_files(
            "list", columns(*present, f"{world}/root/b.mp4", f"{world}/no/a.mp4", f"{world}/no/a.mp4")
        )
    assert f"{world}/no/a.mp4\n  {world}/root/b.mp4" in str(caught.value)


def test_urls_are_not_asked_for():
    check_files("list", columns("s3://bucket/a.mp4", "http://host/b.mp4"))


def test_files_are_counted_once():
    assert count_files(columns("a/1.mp4", "b/1.mp4", "a/1.mp4", "1.mp4", "a/2.mp4")) == 4
