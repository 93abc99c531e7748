"""Whatever the container, codec, and order of reading, frame i is frame i; what is broken says why."""

import itertools
import random
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from jepa.data import pyav
from jepa.data.pyav import PyAVVideo
from jepa.data.video import UnreadableError

IRREGULAR = [
    0,
    33,
    66,
    200,
    210,
    220,
    600,
    650,
    651,
    700,
    1000,
    1400,
    1410,
    1420,
    1500,
    1501,
    1700,
    1800,
    1900,
]
FORMATS = {
    "h264 with b-frames": ("a.mp4", {"options": {"g": "8", "bf": "3"}}),
    "h264 open gop": ("a.mp4", {"options": {"g": "6", "bf": "3", "x264-params": "open-gop=1"}}),
    "h264 all key frames": ("a.mp4", {"options": {"g": "1"}}),
    "h264 one key frame": ("a.mp4", {"options": {"g": "999"}}),
    "matroska": ("a.mkv", {"options": {"g": "5", "bf": "2"}}),
    "transport stream": ("a.ts", {"options": {"g": "5", "bf": "2"}}),
    "avi without presentation times": (
        "a.avi",
        {"codec": "mpeg4", "options": {"g": "5", "bf": "2", "b": "4000000"}},
    ),
    "hevc 10 bit": (
        "a.mp4",
        {
            "codec": "libx265",
            "pix_fmt": "yuv420p10le",
            "size": (64, 64),
            "options": {"x265-params": "keyint=6:crf=2:log-level=none"},
        },
    ),
    "av1": ("a.mkv", {"codec": "libsvtav1", "options": {"g": "8", "preset": "12"}, "size": (64, 64)}),
    "variable rate": ("a.mp4", {"frames": 19, "ticks": IRREGULAR, "options": {"g": "5", "bf": "2"}}),
}


@pytest.fixture(scope="module", params=FORMATS, ids=str)
def video_file(request, tmp_path_factory, write_video) -> Path:
    name, how = FORMATS[request.param]
    if how.get("codec", "libx264") not in av.codecs_available:
        pytest.skip("this build of FFmpeg has no such encoder")
    return write_video(tmp_path_factory.mktemp("formats") / name, **how)


def test_every_frame_is_itself(video_file, numbers):
    with PyAVVideo(str(video_file)) as video:
        assert numbers(video.read(range(video.info.frames))) == list(range(video.info.frames))


def test_seeking_gives_what_full_decoding_gives(video_file):
    with PyAVVideo(str(video_file)) as video:
        everything = video.read(range(video.info.frames))
        order = random.Random(0).sample(range(len(everything)), len(everything))
        for index in order:
            assert torch.equal(video.read([index])[0], everything[index]), index
    for index in order[:6]:
        with PyAVVideo(str(video_file)) as fresh:
            assert torch.equal(fresh.read([index])[0], everything[index]), index


def test_indices_may_repeat_and_come_in_any_order(tmp_path, write_video, numbers):
    with PyAVVideo(str(write_video(tmp_path / "a.mp4"))) as video:
        assert numbers(video.read([20, 3, 3, 11, 0])) == [20, 3, 3, 11, 0]


def test_info_of_a_constant_rate(tmp_path, write_video):
    with PyAVVideo(str(write_video(tmp_path / "a.mp4", frames=24, fps=8))) as video:
        info = video.info
        assert (info.frames, info.height, info.width, info.codec) == (24, 32, 48, "h264")
        assert (info.fps, info.duration_s) == (pytest.approx(8), pytest.approx(3))
        np.testing.assert_allclose(video.times, np.arange(24) / 8, atol=1e-9)


def test_times_of_a_variable_rate(tmp_path, write_video):
    with PyAVVideo(str(write_video(tmp_path / "a.mp4", frames=19, ticks=IRREGULAR))) as video:
        np.testing.assert_allclose(video.times, np.array(IRREGULAR) / 1000, atol=1e-3)


@pytest.mark.parametrize(("turn", "bright"), [(0, "left"), (90, "bottom"), (180, "right"), (270, "top")])
def test_rotation_flags_are_applied(tmp_path, turn, bright):
    """A flag is counter-clockwise: stored with a bright left half, a quarter turn shows it at the bottom."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, :24] = 200
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.set_display_rotation(turn)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with PyAVVideo(str(tmp_path / "a.mp4")) as video:
        frame = video.read([0])[0].float().mean(-1)
    assert frame.shape == ((32, 48) if turn % 180 == 0 else (48, 32))
    height, width = frame.shape
    halves = {
        "left": frame[:, : width // 2],
        "right": frame[:, width // 2 :],
        "top": frame[: height // 2],
        "bottom": frame[height // 2 :],
    }
    assert max(halves, key=lambda side: halves[side].mean().item()) == bright


def test_nothing_is_logged(shared_data, capfd):
    with pytest.raises(UnreadableError), PyAVVideo(str(shared_data / "decode" / "corrupted.mp4")) as video:
        video.read([49])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [
        ("av1_video.mkv", 125, (360, 640)),
        ("bt709_full_range.mp4", 30, (720, 1280)),
        ("h264_10bits.mp4", 30, (200, 200)),
        ("h265_10bits.mp4", 30, (200, 200)),
        ("h265_video.mp4", 10, (128, 128)),
        ("nasa_13013.mp4", 390, (270, 480)),
        ("unordered.mov", 4, (50, 50)),
    ],
)
def test_real_files(shared_data, name, frames, size):
    with PyAVVideo(str(shared_data / "decode" / name)) as video:
        assert (video.info.frames, video.info.height, video.info.width) == (frames, *size)
        middle, last = frames // 2, frames - 1
        together = video.read([0, middle, last])
        assert together.shape == (3, *size, 3)
        assert torch.equal(video.read([middle])[0], together[1])


def test_part_of_a_damaged_file_can_be_read(shared_data):
    with PyAVVideo(str(shared_data / "decode" / "corrupted.mp4")) as video:
        assert video.info.frames == 50
        assert video.read([0, 20]).shape[0] == 2
        with pytest.raises(UnreadableError, match="corrupted.mp4: .*Invalid data"):
            video.read([45])


def test_the_best_stream_is_read(tmp_path, write_video):
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=8) for _ in range(2)]
        for stream, side in zip(streams, (32, 64), strict=True):
            stream.height = stream.width = side
            stream.pix_fmt = "yuv420p"
        streams[1].disposition = av.stream.Disposition.default
        noise = np.random.default_rng(0)
        for _ in range(8):
            for stream in streams:
                image = noise.integers(255, size=(stream.height, stream.width, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    with PyAVVideo(str(path)) as video:
        assert (video.stream_index, video.read([7]).shape) == (1, (1, 64, 64, 3))


def test_truncated(tmp_path, write_video, numbers):
    whole = write_video(tmp_path / "a.mp4", frames=48, options={"g": "8", "movflags": "+faststart"})
    with (
        av.open(str(whole)) as source,
        av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    content = (tmp_path / "front.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2])
    with PyAVVideo(str(cut)) as video:
        assert numbers(video.read([0, 3])) == [0, 3]
        with pytest.raises(UnreadableError, match=r"truncated or damaged|Invalid data"):
            video.read([47])


@pytest.mark.parametrize(
    ("decoded", "reason"), [(5, "ends after frame 5 of 24: truncated"), (0, "ends after frame 0 of 24")]
)
def test_a_decoder_that_stops_early(tmp_path, write_video, monkeypatch, decoded, reason):
    decode = pyav._decode
    monkeypatch.setattr(pyav, "_decode", lambda *args, **how: itertools.islice(decode(*args, **how), decoded))
    with PyAVVideo(str(write_video(tmp_path / "a.mp4", options={"g": "99"}))) as video:
        with pytest.raises(UnreadableError, match=reason):
            video.read([23])


def test_a_frame_that_the_decoder_drops_shows_the_one_before(tmp_path, write_video, monkeypatch, numbers):
    decode = pyav._decode
    drop = lambda *args, **how: (pair for i, pair in enumerate(decode(*args, **how)) if i != 6)  # noqa: E731
    monkeypatch.setattr(pyav, "_decode", drop)
    with PyAVVideo(str(write_video(tmp_path / "a.mp4", options={"g": "99"}))) as video:
        assert numbers(video.read([5, 6, 7])) == [5, 5, 7]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"no video at all, just text", "Invalid data")]
)
def test_no_container(tmp_path, content, reason):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=f"bad.mp4: {reason}"):
        PyAVVideo(str(path))


def test_audio_only(tmp_path, write_audio):
    with pytest.raises(UnreadableError, match="has no video stream .*audio"):
        PyAVVideo(str(write_audio(tmp_path / "sound.mp4")))


def test_missing(tmp_path):
    with pytest.raises(UnreadableError, match="No such file"):
        PyAVVideo(str(tmp_path / "none.mp4"))


def test_folder(tmp_path):
    with pytest.raises(UnreadableError, match=r"directory|Invalid|Error"):
        PyAVVideo(str(tmp_path))


def test_index_out_of_range(tmp_path, write_video):
    with (
        PyAVVideo(str(write_video(tmp_path / "a.mp4"))) as video,
        pytest.raises(IndexError, match="must lie in"),
    ):
        video.read([0, 24])
