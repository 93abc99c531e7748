"""Packing keeps what clips show and what they are called; an interrupted packing goes on, whole shards at a time."""

import json
import os
import signal
import tarfile
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from jepa.config.data import FileSource, ShardSource
from jepa.data import reencode, shard_writer
from jepa.data.decode import open_media
from jepa.data.pyav import PyAVVideo
from jepa.data.reencode import Encoding
from jepa.data.sources import open_source
from jepa.errors import DataError
from jepa.programs.naming import clips_at
from jepa.programs.pack import pack

STEP = 8  # grey levels between neighbouring frames: colours are converted, and rounded, twice


def write(path, *, frames=16, size=(48, 64), ticks=None, fps=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"threads": "1", "g": "50"}
        if ticks is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            grey = np.full((*size, 3), 8 + STEP * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(frames):
    return ((frames.float().mean(dim=(1, 2, 3)) - 8) / STEP).round().int().tolist()


def packed(paths, out, *, shard_mb=1, workers=0, **encoding):
    paths = [str(path) for path in paths]
    return pack(
        paths,
        out,
        encoding=Encoding(**({"short_side": 24, "crf": 4} | encoding)),
        shard_mb=shard_mb,
        workers=workers,
    )


def opened(out, **more):
    return open_source(ShardSource(kind="shards", path=str(out), **more))


def labels(source):
    return [None if entry.label is None else source.classes[entry.label] for entry in source.entries]


@pytest.fixture
def tree(tmp_path):
    for name in ("jump/a.mp4", "run/b.mp4", "run/c.mp4"):
        write(tmp_path / "tree" / name)
    return tmp_path / "tree"


def test_clips_keep_their_frames_times_and_labels(tree, tmp_path):
    result = packed([tree], tmp_path / "out", gop=4)
    assert result["status"] == "done" and (result["shards"], result["samples"], result["bad"]) == (1, 3, 0)
    source = opened(tmp_path / "out")
    assert labels(source) == ["jump", "run", "run"]
    with PyAVVideo(source.entries[1].path) as video, PyAVVideo(str(tree / "run" / "b.mp4")) as before:
        assert (video.info.frames, video.info.height, video.info.width) == (16, 24, 32)
        assert video.info.fps == before.info.fps and np.allclose(video.times, before.times)
        assert numbers(video.read(range(16))) == list(range(16))
        keys = video.table.keys
    assert 4 <= len(keys) <= 5  # one every four frames, and the start


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((48, 64), 24, (24, 32)),
        ((64, 48), 24, (32, 24)),
        ((48, 64), 100, (48, 64)),
        ((50, 90), 31, (32, 56)),
        ((48, 66), 24, (24, 32)),
    ],
)
def test_sizes_are_even_and_never_larger(tmp_path, size, short_side, expected):
    write(tmp_path / "v" / "a.mp4", size=size)
    packed([tmp_path / "v"], tmp_path / "out", short_side=short_side)
    with PyAVVideo(opened(tmp_path / "out").entries[0].path) as video:
        assert (video.info.height, video.info.width) == expected


def test_frames_that_are_shown_for_different_times_stay_so(tmp_path):
    ticks = [0, 100, 150, 400, 410, 700]
    write(tmp_path / "v" / "a.mkv", frames=6, ticks=ticks)
    packed([tmp_path / "v"], tmp_path / "out")
    with (
        PyAVVideo(opened(tmp_path / "out").entries[0].path) as video,
        PyAVVideo(str(tmp_path / "v/a.mkv")) as before,
    ):
        assert len(set(np.diff(before.times).round(3))) > 2
        assert np.abs(video.times - before.times).max() < 1e-3
        assert numbers(video.read(range(6))) == list(range(6))


def test_parts_of_files_become_clips_of_their_own(tree, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text("path,label,start,end\ntree/run/b.mp4,early,0,4\ntree/run/b.mp4,late,10,16\n")
    packed([listed], tmp_path / "out")
    source = opened(tmp_path / "out")
    assert labels(source) == ["early", "late"]
    frames = []
    for entry in source.entries:
        with PyAVVideo(entry.path) as video:
            frames.append(numbers(video.read(range(video.info.frames))))
    assert frames == [[0, 1, 2, 3], [10, 11, 12, 13, 14, 15]]
    with pytest.raises(DataError, match=r"b.mp4: a part of a file \(frames 0 to 4\) cannot be copied"):
        packed([listed], tmp_path / "copy", copy=True)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == []


def test_copies_are_the_same_bytes(tree, tmp_path):
    packed([tree], tmp_path / "out", copy=True)
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        assert tar.extractfile("00000001.mp4").read() == (tree / "run" / "b.mp4").read_bytes()
        said = json.load(tar.extractfile("00000001.json"))
    assert said == {"source": str(tree / "run" / "b.mp4"), "label": "run"}


def test_shards_can_be_packed_again(tree, tmp_path):
    packed([tree], tmp_path / "out")
    again = packed([tmp_path / "out"], tmp_path / "again", copy=True)
    assert again["samples"] == 3 and labels(opened(tmp_path / "again")) == ["jump", "run", "run"]
    assert isinstance(clips_at(str(tmp_path / "out")), ShardSource)
    assert isinstance(clips_at(str(tree)), FileSource)


def test_images(tmp_path):
    for index, name in enumerate(("hat/a.png", "shoe/b.png")):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        Image.new("RGB", (60, 40), (200 * index, 0, 0)).save(tmp_path / "images" / name)
    packed([tmp_path / "images"], tmp_path / "out", short_side=20)
    source = opened(tmp_path / "out", modality="image")
    assert (labels(source), source.modality) == (["hat", "shoe"], "image")
    with open_media(source.entries[1].path, "image", "pyav") as image:
        assert image.read([0]).shape == (1, 20, 30, 3) and abs(int(image.read([0])[0, 5, 5, 0]) - 200) < 4


def test_bad_files_are_left_out_and_listed(tree, tmp_path):
    (tree / "run" / "bad.mp4").write_bytes(b"no video")
    result = packed([tree], tmp_path / "out", workers=1)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (result["samples"], result["bad"]) == (3, 1) and manifest["complete"]
    assert manifest["bad_files"][0]["path"] == str(tree / "run" / "bad.mp4")
    for path in tree.rglob("*.mp4"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no file can be read, the last .*\(0 bytes\)"):
        packed([tree], tmp_path / "none")


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of one or two samples, whatever their limit."""
    monkeypatch.setattr(shard_writer.ShardWriter, "size", property(lambda self: 1_000_000 * (len(self) // 2)))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_packing_goes_on_to_the_same_shards(tmp_path, monkeypatch, small_shards, workers):
    for index in range(7):
        write(tmp_path / "v" / f"{index}.mp4", frames=4 + index)
    (tmp_path / "v" / "2x.mp4").write_bytes(b"")
    packed([tmp_path / "v"], tmp_path / "whole")
    encode, made = reencode.encode, []

    def interrupting(entry, *args, **settings):
        made.append(entry.path)
        if len(made) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return encode(entry, *args, **settings)

    monkeypatch.setattr(reencode, "encode", interrupting)
    result = packed([tmp_path / "v"], tmp_path / "out")
    assert result["status"] == "interrupted" and result["shards"] == 2
    names = {"shard-000000.tar", "shard-000000.index.npz", "shard-000001.tar", "shard-000001.index.npz"}
    assert set(contents(tmp_path / "out")) == {*names, "manifest.json"}
    made.extend([""] * 10)
    result = packed([tmp_path / "v"], tmp_path / "out", workers=workers)
    assert result["status"] == "done" and result["shards"] == 4 and result["bad"] == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    made.clear()
    assert packed([tmp_path / "v"], tmp_path / "out")["shards"] == 4 and not made  # nothing is left to do


def test_shards_begun_with_another_tune_of_the_encoder_are_not_gone_on_with(tree, tmp_path, monkeypatch):
    packed([tree], tmp_path / "out")
    monkeypatch.setattr("jepa.data.reencode.TUNE", "film")
    with pytest.raises(DataError, match="these shards were begun with another tune"):
        packed([tree], tmp_path / "out")


def test_other_settings_and_other_folders_are_refused(tree, tmp_path):
    packed([tree], tmp_path / "out")
    with pytest.raises(DataError, match="these shards were begun with another crf — repeat"):
        packed([tree], tmp_path / "out", crf=30)
    write(tree / "run" / "new.mp4")
    with pytest.raises(DataError, match="begun with another content"):
        packed([tree], tmp_path / "out")
    with pytest.raises(DataError, match="this folder is not empty, and holds no shards"):
        packed([tree], tree)


def test_a_killed_encoder_is_replaced(tree, tmp_path, monkeypatch):
    encode = reencode.encode

    def deadly(entry, *args, **settings):
        if entry.path.endswith("b.mp4") and os.getpid() != parent:
            os._exit(1)
        return encode(entry, *args, **settings)

    parent = os.getpid()
    monkeypatch.setattr(reencode, "encode", deadly)
    result = packed([tree], tmp_path / "out", workers=2)
    assert (result["samples"], result["bad"], result["workers_replaced"]) == (2, 1, 3)
    assert labels(opened(tmp_path / "out")) == ["jump", "run"]
