"""Bytes come from disk, from URLs and out of shards, alike; what cannot be reached is told from what is not there."""

import socket
import tarfile

import pytest
import torch
from PIL import Image

from jepa.data.decode import open_media, open_video
from jepa.data.locations import Member, file_of, is_url, local, member_of, spelled
from jepa.data.pyav import PyAVVideo
from jepa.data.storage import UnreachableError, check_urls, may_return, media, read_bytes, stamp
from jepa.data.video import UnreadableError
from jepa.errors import DataError


@pytest.fixture
def memory():
    """fsspec's file system in memory, as a stand-in for one behind a network."""
    system = pytest.importorskip("fsspec").filesystem("memory")
    yield system
    system.store.clear()


def in_tar(path, file, name="a/b.mp4"):
    """Put a file into a new tar, between two others; return where it lies."""
    with tarfile.open(path, "w") as tar:
        for other in ("before.txt", name, "after.txt"):
            tar.add(file, arcname=other)
    with tarfile.open(path) as tar:
        member = tar.getmember(name)
        return Member(str(path), name, member.offset_data, member.size).path


@pytest.mark.parametrize(
    "member",
    [
        Member("/data/shard-000012.tar", "0001.mp4", 1536, 2255),
        Member("s3://bucket/s.tar", "a/0001.mp4", 0, 1),
        Member("s.tar", "x.tar::y.mp4@5+6", 7, 8),
        Member("s.tar", "../../etc/passwd\n", 7, 8),
    ],
)
def test_a_member_is_one_string(member):
    assert member_of(member.path) == member
    assert (file_of(member.path), spelled(member.path)) == (member.shard, f"{member.shard}::{member.name}")


@pytest.mark.parametrize("path", ["/a/b.mp4", "s3://bucket/a.mp4", "a::b@1+2", "strange.tar::name"])
def test_whole_files_are_no_members(path):
    assert member_of(path) is None and file_of(path) == spelled(path) == path


def test_urls():
    assert [is_url(path) for path in ("s3://b/a", "/a/b", "a:b//c", "file:///a", "C://a")] == [
        *(True, False, False, False, False),
    ]
    assert local("file:///a/b") == "/a/b"


def test_a_video_is_the_same_from_everywhere(tmp_path, write_video, memory):
    path = write_video(tmp_path / "a.mp4")
    with memory.open("/set/a.mp4", "wb") as file:
        file.write(path.read_bytes())
    inside = in_tar(tmp_path / "s.tar", path)
    with memory.open("/set/s.tar", "wb") as file:
        file.write((tmp_path / "s.tar").read_bytes())
    places = [str(path), "memory://set/a.mp4", inside, inside.replace(str(tmp_path), "memory://set")]
    assert read_bytes(places[3]) == path.read_bytes()
    with PyAVVideo(places[0]) as video:
        expected, info = video.read([3, 20, 0]), video.info
    for place in places[1:]:
        with PyAVVideo(place) as video:
            assert video.info == info
            assert torch.equal(video.read([3, 20, 0]), expected)
            assert torch.equal(
                video.read([1]), video.read([1])
            )  # back, which opens it anew where it cannot seek


def test_containers_without_an_index_are_read_twice_from_everywhere(tmp_path, write_video, memory):
    path = write_video(tmp_path / "a.ts")
    memory.pipe("/a.ts", path.read_bytes())
    with PyAVVideo(str(path)) as video, PyAVVideo("memory://a.ts") as remote:
        assert torch.equal(video.read([5, 2]), remote.read([5, 2]))


def test_images_come_from_everywhere(tmp_path, memory):
    Image.new("RGB", (6, 4), "red").save(tmp_path / "a.png")
    memory.pipe("/a.png", (tmp_path / "a.png").read_bytes())
    for place in ("memory://a.png", in_tar(tmp_path / "s.tar", tmp_path / "a.png", "a.png")):
        with open_media(place, "image", "pyav") as image:
            assert image.read([0])[0, 0, 0].tolist() == [255, 0, 0]


def test_one_request_is_made_for_a_clip(tmp_path, write_video, memory, monkeypatch):
    path = in_tar(tmp_path / "s.tar", write_video(tmp_path / "a.mp4"))
    memory.pipe("/s.tar", (tmp_path / "s.tar").read_bytes())
    asked = []
    cat = type(memory).cat_file

    def counted(self, path, start=None, end=None):
        asked.append((path, start, end))
        return cat(self, path, start=start, end=end)

    monkeypatch.setattr(type(memory), "cat_file", counted)
    member = member_of(path)
    with PyAVVideo(member._replace(shard="memory://s.tar").path) as video:
        video.read([0, 23])
    assert asked == [("/s.tar", member.offset, member.offset + member.size)]


@pytest.mark.parametrize("place", ["memory://none.mp4", "/none/a.mp4", "/none/s.tar::a.mp4@0+9"])
def test_what_is_not_there(place, memory):
    with pytest.raises(UnreadableError) as caught:
        open_video(place, "pyav")
    assert caught.value.path == spelled(place) and not isinstance(caught.value, UnreachableError)
    with pytest.raises(UnreadableError):
        stamp(place)


def test_a_shard_that_is_cut_short(tmp_path, memory):
    (tmp_path / "s.tar").write_bytes(b"12345")
    memory.pipe("/s.tar", b"12345")
    for shard in (str(tmp_path / "s.tar"), "memory://s.tar"):
        with pytest.raises(UnreadableError, match=r"s.tar::a.mp4: 3 bytes came, 9 were asked for: the shard"):
            read_bytes(Member(shard, "a.mp4", 2, 9).path)


@pytest.mark.parametrize("error", [ConnectionError("refused"), TimeoutError(), RuntimeError("503")])
def test_a_network_that_fails_may_come_back(memory, monkeypatch, error):
    def fail(*args, **settings):
        raise error

    monkeypatch.setattr(type(memory), "cat_file", fail)
    with pytest.raises(
        UnreachableError, match=f"memory://a.mp4: cannot be reached: {type(error).__name__}"
    ) as caught:
        media("memory://a.mp4")
    assert may_return("memory://a.mp4", caught.value)


def test_a_folder_that_is_gone_may_come_back_a_file_does_not(tmp_path):
    (tmp_path / "b.mp4").touch()
    for folder, expected in ((tmp_path, False), (tmp_path / "none", True)):
        for path in (f"{folder}/a.mp4", f"{folder}/s.tar::a.mp4@0+9"):
            with pytest.raises(UnreadableError) as caught:
                open_video(path, "pyav")
            assert may_return(path, caught.value) == expected


def test_a_file_that_has_come_back_since_is_read_again(tmp_path):
    path = tmp_path / "folder" / "a.mp4"
    with pytest.raises(UnreadableError) as caught:
        open_video(str(path), "pyav")
    path.parent.mkdir()
    (path.parent / "b.mp4").touch()
    assert not may_return(str(path), caught.value)
    path.touch()
    assert may_return(str(path), caught.value)


@pytest.mark.parametrize("protocol", ["reference", "simplecache", "local", "github", "nonsense"])
def test_only_known_protocols_are_followed(protocol):
    with pytest.raises(DataError, match=rf"list: URLs that begin with {protocol}:// are not read — abfs, "):
        check_urls("list", [f"{protocol}://a/b"])
    with pytest.raises(DataError, match="are not read"):
        media(f"{protocol}://a/b")


def test_a_package_that_is_missing_is_said_before_the_run(monkeypatch):
    fsspec = pytest.importorskip("fsspec")

    def missing(protocol):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(DataError, match="list: s3:// cannot be read here: Install s3fs"):
        check_urls("list", ["s3://bucket/"])


def test_a_list_of_other_files_is_no_video(tmp_path, write_video):
    write_video(tmp_path / "secret.mp4")
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(UnreadableError, match=r"is no video but a list of other files \(concat\)"):
        open_video(str(tmp_path / "a.mp4"), "pyav")


def test_no_file_makes_ffmpeg_go_to_the_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{url}\n#EXT-X-ENDLIST\n"
        (tmp_path / "a.m3u8").write_text(playlist)
        with pytest.raises(UnreadableError):
            open_video(str(tmp_path / "a.m3u8"), "pyav")
        with pytest.raises(TimeoutError):  # nobody called
            server.accept()
