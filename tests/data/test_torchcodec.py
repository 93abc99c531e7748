"""The second back end must cut the same frames as the first.

Where torchcodec works, it is tested itself; a stand-in with its interface is tested everywhere.
"""

import random
import sys
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
import torch

from jepa.data import torchcodec
from jepa.data.pyav import PyAVVideo
from jepa.data.torchcodec import TorchcodecVideo, unusable
from jepa.data.video import UnreadableError


@dataclass
class FrameBatch:
    data: torch.Tensor


class StandIn:
    """Has the constructor and the methods of torchcodec's decoder that are used; decodes with PyAV."""

    def __init__(self, source, *, stream_index, dimension_order, num_ffmpeg_threads, seek_mode):
        assert (dimension_order, num_ffmpeg_threads, seek_mode) == ("NHWC", 1, "exact")
        self._video = PyAVVideo(source)
        assert stream_index == self._video.stream_index
        table = self._video.table
        self._begins = table.ticks * table.seconds_per_tick

    def get_frames_at(self, indices):
        return FrameBatch(self._video.read(indices))

    def get_frames_played_at(self, seconds):
        if min(seconds) < self._begins[0]:
            raise IndexError(f"Invalid pts in seconds: {min(seconds)}.\nTraces of the loader")
        return FrameBatch(
            self._video.read([int(np.searchsorted(self._begins, s, side="right")) - 1 for s in seconds])
        )


@pytest.fixture(params=["stand-in", "installed"])
def backend(request, monkeypatch):
    unusable.cache_clear()
    if request.param == "stand-in":
        install(monkeypatch, StandIn)
    elif unusable() is not None:
        pytest.skip(f"torchcodec: {unusable()}")
    yield request.param
    unusable.cache_clear()


def install(monkeypatch, decoder):
    module = ModuleType("torchcodec.decoders")
    module.VideoDecoder = decoder
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"options": {"g": "6", "bf": "3"}},
        {"frames": 7, "ticks": [0, 33, 40, 300, 301, 900, 1000]},
        {"rotation": 90},
    ],
)
def test_frames_are_those_of_pyav(backend, tmp_path, write_video, how):
    path = str(write_video(tmp_path / "a.mp4", **how))
    with TorchcodecVideo(path) as video, PyAVVideo(path) as reference:
        assert video.info == reference.info
        np.testing.assert_array_equal(video.times, reference.times)
        order = random.Random(0).choices(range(video.info.frames), k=20)
        ours, theirs = video.read(order).int(), reference.read(order).int()
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1


def test_works(backend):
    assert unusable() is None


def test_file_without_presentation_times(backend, tmp_path, write_video, numbers):
    path = str(write_video(tmp_path / "a.avi", codec="mpeg4", options={"g": "5", "b": "4000000"}))
    with TorchcodecVideo(path) as video:
        assert numbers(video.read([3, 20])) == [3, 20]


def test_bad_files(backend, tmp_path, shared_data):
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(UnreadableError, match="the file is empty"):
        TorchcodecVideo(str(tmp_path / "a.mp4"))
    with TorchcodecVideo(str(shared_data / "decode" / "corrupted.mp4")) as video:
        with pytest.raises(UnreadableError, match="corrupted.mp4: "):
            video.read([49])


def test_errors_lose_their_traces(monkeypatch, tmp_path, write_video):
    class Failing(StandIn):
        def get_frames_played_at(self, seconds):
            raise RuntimeError("Could not push packet\nException raised from\nframe #0")

    install(monkeypatch, Failing)
    with TorchcodecVideo(str(write_video(tmp_path / "a.mp4"))) as video:
        with pytest.raises(UnreadableError, match=r"a.mp4: Could not push packet$"):
            video.read([0])


@pytest.fixture
def fresh():
    unusable.cache_clear()
    yield
    unusable.cache_clear()


def test_not_installed(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    assert unusable().startswith("it does not import: ")


def test_cannot_load_its_libraries(fresh, monkeypatch):
    def fail(name):
        raise RuntimeError("Could not load libtorchcodec.\nFFmpeg version 8: ...")

    monkeypatch.setattr(torchcodec.importlib, "import_module", fail)
    assert unusable() == "it does not import: Could not load libtorchcodec."


def test_cannot_decode(fresh, monkeypatch):
    class Failing(StandIn):
        def get_frames_played_at(self, seconds):
            raise RuntimeError("No codec")

    install(monkeypatch, Failing)
    assert unusable() == "it cannot decode a test file: No codec"


def test_ignores_rotation(fresh, monkeypatch):
    class Old(StandIn):
        def get_frames_played_at(self, seconds):
            return FrameBatch(super().get_frames_played_at(seconds).data.rot90(-1, (1, 2)))

    install(monkeypatch, Old)
    assert unusable().startswith("it decodes a rotated test file differently")
