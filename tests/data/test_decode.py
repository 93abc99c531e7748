"""Which back end is used, how images are read, and that nothing waits for ever."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from jepa.data import torchcodec
from jepa.data.decode import bounded, open_media, open_video, resolve_decoder
from jepa.data.pyav import PyAVVideo
from jepa.data.video import DecodeTimeoutError, UnreadableError
from jepa.errors import DataError


@pytest.fixture
def no_torchcodec(monkeypatch):
    monkeypatch.setattr(torchcodec, "unusable", lambda: "it does not import: no libavutil")


def test_auto_falls_back_to_pyav(no_torchcodec, tmp_path, write_video):
    assert resolve_decoder("auto") == "pyav"
    with open_video(str(write_video(tmp_path / "a.mp4"))) as video:
        assert isinstance(video, PyAVVideo)


def test_auto_takes_torchcodec_where_it_works(monkeypatch):
    monkeypatch.setattr(torchcodec, "unusable", lambda: None)
    assert resolve_decoder("auto") == resolve_decoder("torchcodec") == "torchcodec"
    assert resolve_decoder("pyav") == "pyav"


def test_torchcodec_by_name_must_work(no_torchcodec):
    with pytest.raises(
        DataError, match=r"torchcodec cannot be used: it does not import: no libavutil — install"
    ):
        resolve_decoder("torchcodec")


def test_bounded_returns_and_raises_what_the_work_does():
    assert bounded(lambda: 7, seconds=5, path="a") == 7
    with pytest.raises(KeyError, match="x"):
        bounded(lambda: {}["x"], seconds=5, path="a")


def test_bounded_gives_up():
    begin = time.monotonic()
    with pytest.raises(DecodeTimeoutError, match=r"slow.mp4: decoding took longer than .* = 0.05 s"):
        bounded(lambda: time.sleep(30), seconds=0.05, path="slow.mp4")
    assert time.monotonic() - begin < 5
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "decode slow.mp4")


def test_bounded_may_return_nothing():
    assert bounded(lambda: None, seconds=5, path="a") is None


def test_image_is_a_video_of_one_frame(tmp_path):
    Image.new("RGB", (30, 20), (10, 20, 30)).save(tmp_path / "a.png")
    with open_media(str(tmp_path / "a.png"), "image", "pyav") as image:
        assert (image.info.frames, image.info.codec, image.times.tolist()) == (1, "png", [0.0])
        frames = image.read([0, 0])
    assert frames.shape == (2, 20, 30, 3) and frames[1, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_images_of_all_kinds_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    Image.new(mode, (4, 6)).save(path)
    assert open_media(str(path), "image", "pyav").read([0]).shape == (1, 6, 4, 3)


def test_exif_turns_an_image_upright(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :10] = 255  # white on the left as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: left becomes top
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    frame = open_media(str(tmp_path / "a.jpg"), "image", "pyav").read([0])[0]
    assert frame.shape == (30, 20, 3)
    assert frame[:8].min() > 200 and frame[12:].max() < 50


def test_broken_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    with pytest.raises(UnreadableError, match="a.jpg: "):
        open_media(str(tmp_path / "a.jpg"), "image", "pyav")


def test_truncated_image(tmp_path):
    noise = np.random.default_rng(0).integers(255, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableError, match="truncated"):
        open_media(str(tmp_path / "a.jpg"), "image", "pyav")
