"""The cache, the size limit, and the time limit change how clips are read, never what is read."""

import pytest
import torch
from PIL import Image

from jepa.config.data import DataConfig
from jepa.data import reading
from jepa.data.reading import ClipReader
from jepa.data.sources import Entry
from jepa.data.video import UnreadableError

PLACES = [0.1, 0.7]


def reader(cache_mb=0, **changes):
    settings = {"sources": [{"kind": "folder", "path": "."}], "frames_per_clip": 4, "fps": 5.0} | changes
    return ClipReader(DataConfig.model_validate(settings, strict=False), decoder="pyav", cache_mb=cache_mb)


@pytest.mark.parametrize("bounds", [(0, None), (5, 15)])
@pytest.mark.parametrize("how", [{"fps": 5.0}, {"fps": None, "stride": 3}])
def test_the_cache_changes_nothing(tmp_path, write_video, bounds, how):
    entry = Entry(str(write_video(tmp_path / "a.mp4")), None, *bounds)
    cached = reader(cache_mb=5, short_side=20, **how)
    plain = reader(short_side=20, **how).read(entry, "video", PLACES).pixels
    assert plain.shape == (2, 4, 20, 30, 3)
    for _ in range(2):
        assert torch.equal(cached.read(entry, "video", PLACES).pixels, plain)


def test_a_cached_file_is_not_opened_again(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4")
    cached = reader(cache_mb=5)
    first = cached.read(Entry(str(path)), "video", PLACES)
    path.unlink()
    again = cached.read(Entry(str(path)), "video", PLACES)
    assert torch.equal(again.pixels, first.pixels) and (again.times == first.times).all()


def test_a_full_cache_keeps_what_it_has(tmp_path, write_video):
    size = 24 * 128 * 192 * 3  # bytes of a video: one fits into 2 MB, two do not
    assert 1e6 < size < 2e6
    paths = [write_video(tmp_path / name, size=(128, 192)) for name in ("a.mp4", "b.mp4")]
    cached = reader(cache_mb=2, retry_s=0.0)  # else it waits for the folder, then empty, to come back
    for path in paths:
        cached.read(Entry(str(path)), "video", PLACES)
        path.unlink()
    cached.read(Entry(str(paths[0])), "video", PLACES)
    with pytest.raises(UnreadableError, match="No such file"):
        cached.read(Entry(str(paths[1])), "video", PLACES)


def test_damage_outside_the_clip_does_not_depend_on_the_cache(shared_data):
    entry = Entry(str(shared_data / "decode" / "corrupted.mp4"))
    results = [reader(mb, short_side=32).read(entry, "video", [0.01]).pixels for mb in (0, 100)]
    assert torch.equal(*results)


def test_bounds_past_the_video(tmp_path, write_video):
    with pytest.raises(
        UnreadableError, match="a.mp4: the list asks for frames 90 to the end, but the video has 24"
    ):
        reader().read(Entry(str(write_video(tmp_path / "a.mp4")), None, 90), "video", PLACES)


def test_long_videos_are_shrunk_in_pieces(tmp_path, write_video, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 5)
    entry = Entry(str(write_video(tmp_path / "a.mp4")))
    assert torch.equal(
        reader(5, short_side=16).read(entry, "video", PLACES).pixels,
        reader(short_side=16).read(entry, "video", PLACES).pixels,
    )


def test_images_need_no_rate(tmp_path):
    Image.new("RGB", (6, 4), "red").save(tmp_path / "a.png")
    config = DataConfig.model_validate(
        {"sources": [{"kind": "images", "path": str(tmp_path)}], "resolution": 4}, strict=False
    )
    clips = ClipReader(config, decoder="pyav").read(Entry(str(tmp_path / "a.png")), "image", [0.5])
    assert clips.pixels.shape == (1, 1, 4, 6, 3)


@pytest.mark.parametrize("cache_mb", [0, 5])
@pytest.mark.parametrize("short_side", [None, 20])
def test_cutting_while_decoding_gives_what_cutting_afterwards_gives(
    tmp_path, write_video, cache_mb, short_side
):
    entry = Entry(str(write_video(tmp_path / "a.mp4")))

    def cut(clip, frames):
        return frames[:, clip : clip + 10, ::2].permute(0, 3, 1, 2).float() / (clip + 1)

    plain = reader(cache_mb, short_side=short_side).read(entry, "video", PLACES)
    fused = reader(cache_mb, short_side=short_side).read(entry, "video", PLACES, cut)
    assert torch.equal(fused.pixels, torch.stack([cut(i, clip) for i, clip in enumerate(plain.pixels)]))
    assert (fused.times == plain.times).all()
