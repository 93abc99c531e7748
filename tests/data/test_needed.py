"""What is left out changes no bit of the frames that are read, in whichever order and from whichever file."""

import random
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from jepa.data import pyav
from jepa.data.pyav import PyAVVideo

FILES = {
    "three b-frames": {"g": "12", "bf": "3", "b-adapt": "0"},
    "no b-frames": {"g": "12", "bf": "0"},
    "b-frames that others refer to": {"g": "30", "bf": "7", "b-pyramid": "strict", "b-adapt": "0"},
    "one key frame": {"g": "999", "bf": "3", "b-adapt": "0", "b-pyramid": "none"},
    "key frames alone": {"g": "1"},
    "key frames that are no IDR pictures": {"g": "6", "bf": "3", "x264-params": "open-gop=1:scenecut=0"},
    "two slices": {"g": "12", "bf": "3", "slices": "2", "b-adapt": "0"},
}
LEAVES_OUT = {name for name in FILES if name not in {"no b-frames", "key frames that are no IDR pictures"}}


def moving(index: int) -> np.ndarray:
    """A texture that moves, with noise: every frame differs from its neighbours in every block."""
    rows, columns = np.mgrid[:48, :64].astype(np.float32)
    wave = np.sin((columns + 2 * index) / 5) + np.sin((rows - index) / 7)
    noise = np.random.default_rng(index).normal(0, 8, (48, 64, 3))
    return np.clip(128 + 45 * wave[..., None] + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=FILES, ids=str)
def written(request, tmp_path_factory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("needed") / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.options = {"threads": "1", **FILES[request.param]}
        for index in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moving(index), format="rgb24")))
        container.mux(stream.encode())
    return request.param, path


def everything(path: Path) -> torch.Tensor:
    with PyAVVideo(str(path)) as video:
        video._needed.distrust()
        return video.read(range(video.info.frames))


def test_strided_clips_are_bit_for_bit_those_of_the_whole_file(written):
    name, path = written
    frames, left_out = everything(path), 0
    for start in (0, 1, 2, 3, 10, 23):
        for stride in (1, 2, 4, 9):
            indices = list(range(start, 60, stride))[:8]
            with PyAVVideo(str(path)) as video:
                assert torch.equal(video.read(indices), frames[indices]), (start, stride)
                left_out += len(video._needed.left_out)
    assert (left_out > 0) >= (name in LEAVES_OUT)


def test_reads_may_follow_one_another_in_any_order(written):
    name, path = written
    frames, draws = everything(path), random.Random(0)
    with PyAVVideo(str(path)) as video:
        for _ in range(40):
            indices = draws.sample(range(60), draws.randint(1, 6))
            assert torch.equal(video.read(indices), frames[indices]), indices
        assert video._needed._trusted or name not in LEAVES_OUT


def test_frames_read_in_pieces_are_decoded_once(written, monkeypatch):
    """Nothing is left out after the last wanted frame, so the next piece needs no seek."""
    _, path = written
    with PyAVVideo(str(path)) as video:
        monkeypatch.setattr(video, "_seek", None)
        for begin in range(0, 60, 20):
            video.read(range(begin, begin + 20))


def test_most_frames_of_a_sparse_clip_are_not_decoded(written, monkeypatch):
    name, path = written
    if name not in LEAVES_OUT:
        pytest.skip("every frame of this file may be needed")
    counts, decode = [], pyav._decode
    monkeypatch.setattr(
        pyav, "_decode", lambda *args, **how: (counts.append(1) or pair for pair in decode(*args, **how))
    )
    with PyAVVideo(str(path)) as video:
        video.read([20, 24, 28, 32])
    # With a key frame every time, four are; else about half of those from the key frame on, and the wanted ones.
    key = {"one key frame": 0, "b-frames that others refer to": 0}.get(name, 12)
    assert len(counts) <= (4 if name == "key frames alone" else 0.5 * (33 - key) + 8)


def test_a_key_frame_that_is_none_is_noticed(written, monkeypatch):
    """Where what follows a gap is no IDR picture, all is decoded after all."""
    name, path = written
    frames = everything(path)
    monkeypatch.setattr("jepa.data.needed.IDR", 99)
    with PyAVVideo(str(path)) as video:
        assert torch.equal(video.read([13, 17, 21]), frames[[13, 17, 21]])
        if name != "key frames that are no IDR pictures":
            assert video._needed._trusted is (name != "key frames alone")  # elsewhere they share a key frame


@pytest.mark.parametrize(
    "name",
    [
        "nasa_13013.mp4",
        "bt709_full_range.mp4",
        "h264_10bits.mp4",
        "unordered.mov",
        "video_90.mov",
        "h265_video.mp4",
    ],
)
def test_real_files(shared_data, name):
    path = shared_data / "decode" / name
    frames = everything(path)
    for stride in (1, 3, 4):
        indices = list(range(len(frames) // 3, len(frames), stride))[:16]
        with PyAVVideo(str(path)) as video:
            assert torch.equal(video.read(indices), frames[indices])


def test_headers_tell_what_decoding_tells(written, monkeypatch):
    """Opening without decoding a picture finds the same stream."""
    _, path = written
    with PyAVVideo(str(path)) as quick:
        monkeypatch.setattr(pyav, "_tells_order", lambda container: False)
        with PyAVVideo(str(path)) as slow:
            assert quick.info == slow.info and np.array_equal(quick.table.ticks, slow.table.ticks)
            assert np.array_equal(quick.table.keys, slow.table.keys)
            assert torch.equal(quick.read([7, 50]), slow.read([7, 50]))


def test_a_usual_file_is_opened_without_decoding(written):
    container, _ = pyav.open_stream(str(written[1]))
    assert container.streams.video[0].codec_context.pix_fmt is None  # which only a decoded picture tells
    container.close()


def test_what_is_cut_of_a_frame_is_kept_in_the_order_asked_for(written):
    _, path = written
    frames = everything(path)
    indices = [30, 3, 3, 17]
    with PyAVVideo(str(path)) as video:
        cut = video.read(indices, lambda place, frame: frame[place : place + 20, 5:9].int() + place)
    wanted = [frames[index, place : place + 20, 5:9].int() + place for place, index in enumerate(indices)]
    assert torch.equal(cut, torch.stack(wanted))
