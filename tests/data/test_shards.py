"""Tar shards are lists of entries like any other: any order, mixed by weight, resumed exactly."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from jepa.config.data import DataConfig, FileSource, ShardSource
from jepa.data import shards
from jepa.data.loader import train_stream
from jepa.data.locations import member_of
from jepa.data.shard_index import ShardIndex, index_tar
from jepa.data.shards import braces, find_shards, open_index
from jepa.data.sources import open_source, open_sources
from jepa.data.storage import Stamp, read_bytes
from jepa.errors import DataError


def write_tar(path, members):
    """Write a shard as others do: members by name, bytes or text or (for JSON) a dict."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = json.dumps(content) if isinstance(content, dict) else content
            data = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def config(path, **more):
    return ShardSource(kind="shards", path=str(path) if not isinstance(path, tuple) else path, **more)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


def names(source):
    return [member_of(entry.path).name for entry in source.entries]


def labels(source):
    return [None if entry.label is None else source.classes[entry.label] for entry in source.entries]


def test_samples_of_foreign_shards(tmp_path):
    write_tar(
        tmp_path / "b.tar",
        {
            "0001.mp4": b"12345",
            "0001.cls": "run\n",
            "0002.txt": "a caption",
            "0002.cls": "7",
            "0002.MP4": b"1",
        },
    )
    write_tar(
        tmp_path / "a.tar",
        {"x/1.json": {"label": "jump", "note": "n"}, "x/1.depth.mp4": b"", "x/1.mp4": b"22"},
    )
    source = open_source(config(tmp_path))
    assert names(source) == ["x/1.depth.mp4", "x/1.mp4", "0001.mp4", "0002.MP4"]
    assert labels(source) == ["jump", "jump", "run", "7"]
    assert [read_bytes(entry.path) for entry in source.entries] == [b"", b"22", b"12345", b"1"]
    assert source.files == 4


def test_splits_targets_and_several_labels(tmp_path):
    samples = {
        f"{place}.json": {"split": split, "label": "a;b" if place else "c", "angle": place / 2, "on": True}
        for place, split in enumerate(("train", "test", "train"))
    }
    write_tar(tmp_path / "a.tar", samples | {f"{place}.mp4": b"1" for place in range(3)})
    source = open_source(config(tmp_path, split="train", targets=("angle",), separator=";"))
    assert source.classes == ("a", "b", "c") and source.targets == ("angle",)
    assert [(entry.labels, entry.targets) for entry in source.entries] == [((2,), (0.0,)), ((0, 1), (1.0,))]
    with pytest.raises(DataError, match=r"no video of split 'val'; their splits are \['test', 'train'\]"):
        open_source(config(tmp_path, split="val"))
    with pytest.raises(DataError, match=r"a.tar::0.mp4: its .json has no number 'on'"):
        open_source(config(tmp_path, targets=("on",)))


def test_images_and_videos_of_one_shard_are_told_apart(tmp_path):
    write_tar(tmp_path / "a.tar", {"1.mp4": b"1", "1.jpg": b"2", "2.jpg": b"3"})
    assert names(open_source(config(tmp_path))) == ["1.mp4"]
    images = open_source(config(tmp_path, modality="image"))
    assert (names(images), images.modality) == (["1.jpg", "2.jpg"], "image")
    data = DataConfig.model_validate({"sources": [config(tmp_path, modality="image")]}, strict=False)
    assert data.has_images and not data.has_video


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["a"]),
        ("s-{00..02}.tar", ["s-00.tar", "s-01.tar", "s-02.tar"]),
        ("{a,b}/{1..2}", ["a/1", "a/2", "b/1", "b/2"]),
        ("{8..10}", ["8", "9", "10"]),
    ],
)
def test_braces(pattern, expected):
    assert list(braces(pattern)) == expected


def test_patterns(tmp_path):
    for name in ("s-00.tar", "s-01.tar", "t.tar"):
        write_tar(tmp_path / name, {"1.mp4": b"1"})
    found = [str(tmp_path / name) for name in ("s-00.tar", "s-01.tar", "t.tar")]
    assert find_shards(str(tmp_path)) == found
    assert find_shards(f"{tmp_path}/s-*.tar") == find_shards(f"{tmp_path}/s-{{00..01}}.tar") == found[:2]
    both = open_source(config((found[2], found[0])))
    assert [member_of(entry.path).shard for entry in both.entries] == [found[2], found[0]]
    with pytest.raises(DataError, match=r"s-02.tar: this does not exist"):
        find_shards(f"{tmp_path}/s-{{00..02}}.tar")
    with pytest.raises(DataError, match=r"u-\*.tar: there is no shard"):
        find_shards(f"{tmp_path}/u-*.tar")
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(DataError, match="must be plain .tar files"):
        find_shards(f"{tmp_path}/a.tar.gz")


def test_remote_shards(tmp_path, write_video):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    video = write_video(tmp_path / "a.mp4").read_bytes()
    write_tar(tmp_path / "s.tar", {"1.mp4": video, "1.cls": "run", "2.cls": "jump", "2.mp4": b"222"})
    memory.pipe("/set/s-0.tar", (tmp_path / "s.tar").read_bytes())
    memory.pipe("/set/s-1.tar", (tmp_path / "s.tar").read_bytes())
    for path in ("memory://set/", "memory://set/*.tar", "memory://set/s-{0..1}.tar"):
        source = open_source(config(path))
        assert labels(source) == ["run", "jump"] * 2
        assert read_bytes(source.entries[2].path) == video
    memory.pipe("/set/s-0.tar", b"other")
    with pytest.raises(
        DataError, match="memory:/+set/s-0.tar: this shard changed since it was indexed: then"
    ):
        open_source(config("memory://set/"))
    memory.store.clear()


def test_a_foreign_shard_is_indexed_once(tmp_path, own_cache, monkeypatch):
    shard = write_tar(tmp_path / "a.tar", {"1.mp4": b"1", "1.cls": "run"})
    first = open_source(config(tmp_path))
    assert len(list((own_cache / "jepa" / "shards").iterdir())) == 1
    monkeypatch.setattr(shards, "index_tar", None)
    assert open_source(config(tmp_path)) == first
    assert list(tmp_path.iterdir()) == [shard]  # nothing is written beside what belongs to others


def test_a_shard_that_changed_is_refused(tmp_path):
    shard = write_tar(tmp_path / "a.tar", {"1.mp4": b"1"})
    open_index(str(shard))
    os.utime(shard, (1, 1))
    with pytest.raises(
        DataError, match=r"a.tar: this shard changed since it was indexed: .* another time — if"
    ):
        open_source(config(tmp_path))
    write_tar(tmp_path / "a.tar", {"1.mp4": b"1" * 20_000})
    with pytest.raises(
        DataError, match=r"then 10240 bytes, now 30720 — if that is meant, remove .*\.index\.npz"
    ):
        open_source(config(tmp_path))


def test_a_shard_of_the_same_size_as_that_of_its_index_is_refused_where_its_members_lie_elsewhere(tmp_path):
    shard = write_tar(tmp_path / "a.tar", {"1.mp4": b"1", "2.mp4": b"2"})
    with shard.open("rb") as file:
        index = index_tar(str(shard), file, Stamp(shard.stat().st_size, 0))
    with (tmp_path / "a.index.npz").open("wb") as file:
        index.save(file)
    assert len(open_index(str(shard))) == 2
    write_tar(shard, {"1.mp4": b"1" * 600, "2.mp4": b"2"})
    assert shard.stat().st_size == index.stamp.size
    with pytest.raises(DataError, match="changed since it was indexed: 2.mp4 is not where it was"):
        open_index(str(shard))


def test_an_index_keeps_everything(tmp_path):
    members = {"ü.mp4": b"1", "ü.json": {"label": "a", "split": "s", "x": 1.5}, "2.mp4": b"", "3.jpg": b"333"}
    shard = write_tar(tmp_path / "a.tar", members)
    with shard.open("rb") as file:
        index = index_tar("a.tar", file, Stamp(shard.stat().st_size, 5))
    out = io.BytesIO()
    index.save(out)
    again = ShardIndex.load(out.getvalue(), "i")
    assert (again.stamp, again.names, again.notes) == (index.stamp, index.names, index.notes)
    assert np.array_equal(again.offsets, index.offsets) and np.array_equal(again.sizes, index.sizes)
    assert index.notes[0].numbers == {"x": 1.5} and index.notes[1].numbers == {}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_no_index_can_run_code_or_point_outside(tmp_path):
    def load(**changes):
        fields = {
            "format": np.array("jepa shard index 1"),
            "stamp": np.array([100, 0]),
            "offsets": np.array([10]),
            "sizes": np.array([20]),
            "texts": np.frombuffer(json.dumps([["1.mp4"], [[None, None]], []]).encode(), np.uint8),
            "numbers": np.zeros((1, 0)),
        } | changes
        out = io.BytesIO()
        np.savez(out, **fields)
        return ShardIndex.load(out.getvalue(), "i")

    assert load().names == ("1.mp4",)
    for changes in (
        {"offsets": np.array([90])},
        {"offsets": np.array([-1])},
        {"sizes": np.array([1, 2])},
        {"texts": np.array([Evil()], dtype=object)},
        {"format": np.array("another")},
    ):
        with pytest.raises(DataError, match="i: the index of this shard is damaged"):
            load(**changes)
    with pytest.raises(DataError, match="damaged"):
        ShardIndex.load(b"PK nonsense", "i")
    assert not os.path.exists("evil")


def test_damaged_shards(tmp_path):
    whole = write_tar(tmp_path / "a.tar", {"1.mp4": b"1" * 5000}).read_bytes()
    for content, message in (
        (whole[:3000], "1.mp4 does not lie whole in this shard"),
        (b"no tar" * 300, "this is not an uncompressed tar file"),
    ):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_source(config(tmp_path))
    for name, content, message in (
        ("1.json", "{", r"a.tar::1.json: this is not JSON"),
        ("1.json", "[1]", r"must be an object with keys such as label, got '\[1\]'"),
        ("1.cls", b"\xff", "this label cannot be read"),
    ):
        write_tar(tmp_path / "a.tar", {name: content, "1.mp4": b"1"})
        with pytest.raises(DataError, match=message):
            open_source(config(tmp_path))


def test_members_with_evil_names_are_bytes_like_others(tmp_path):
    (tmp_path / "set").mkdir()
    with tarfile.open(tmp_path / "set" / "a.tar", "w") as tar:
        for name in ("../../escaped.mp4", "/tmp/escaped.mp4"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    source = open_source(config(tmp_path / "set"), confine=str(tmp_path))
    assert [read_bytes(entry.path) for entry in source.entries] == [b"abc", b"abc"]  # and no link
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "a.tar"]  # nothing was unpacked


@pytest.fixture
def mixed(tmp_path, write_video, sample_masks):
    """A folder of videos, and shards of others; the stream that mixes them."""
    for index in range(4):
        write_video(tmp_path / "videos" / f"{index}.mp4", frames=10 + index)
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        videos = {
            f"{shard}{index}.mp4": write_video(tmp_path / "v.mp4", frames=12 + index).read_bytes()
            for index in range(3)
        }
        write_tar(tmp_path / "shards" / f"{shard}.tar", videos)
    sources = [
        {"kind": "folder", "path": str(tmp_path / "videos"), "weight": 1.0},
        {"kind": "shards", "path": str(tmp_path / "shards"), "weight": 3.0},
    ]

    def stream(*, start=0, steps=8, **changes):
        settings = {
            "sources": sources,
            "frames_per_clip": 4,
            "stride": 1,
            "resolution": 16,
            "batch_size": 4,
            "workers": 0,
            "decoder": "pyav",
        } | changes
        data = DataConfig.model_validate(settings, strict=False)
        return train_stream(data, seed=0, start_step=start, steps=steps, sample_masks=sample_masks)

    return stream


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mix_with_shards_resumes_exactly(mixed, workers):
    unbroken = [batch.clip for batch in mixed()]
    resumed = [batch.clip for batch in mixed(start=3, steps=5, workers=workers)]
    assert len(resumed) == 5
    assert all(torch.equal(*pair) for pair in zip(unbroken[3:], resumed, strict=True))


def test_a_clip_is_the_same_from_a_file_and_from_a_shard(tmp_path, write_video):
    path = write_video(tmp_path / "a" / "1.mp4")
    write_tar(tmp_path / "s.tar", {"1.mp4": path.read_bytes()})
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "no.png")
    file, shard = open_sources([FileSource(kind="folder", path=str(path.parent)), config(tmp_path / "s.tar")])
    assert read_bytes(file.entries[0].path) == read_bytes(shard.entries[0].path)
