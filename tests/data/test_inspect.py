"""What `jepa data inspect` prints and draws."""

import pytest
import torch
from PIL import Image

from jepa.config.data import FileSource
from jepa.data.inspect import contact_sheet, example_frames, inspect_source
from jepa.data.sources import open_source


@pytest.fixture(scope="module")
def source(tmp_path_factory, write_video, write_audio):
    path = tmp_path_factory.mktemp("inspected")
    write_video(path / "run" / "a.mp4", frames=8)
    write_video(path / "run" / "b.mp4", frames=24, fps=12)
    write_video(path / "walk" / "c.mp4", frames=16, rotation=90)
    (path / "walk" / "d.mp4").write_bytes(b"")
    write_audio(path / "walk" / "e.mp4")
    return open_source(FileSource(kind="folder", path=str(path)))


def test_summary(source):
    summary = inspect_source(source, decoder="pyav")
    assert (summary.entries, summary.files, summary.frames) == (5, 5, 48)
    assert summary.classes == {"run": 2, "walk": 3}
    assert summary.durations_s == pytest.approx((1.0, 2.0, 2.0))
    assert summary.hours == pytest.approx(5 / 3600)
    assert summary.rates_fps == {8.0: 2, 12.0: 1}
    assert summary.sizes_px == {(32, 48): 2, (48, 32): 1}
    assert summary.codecs == {"h264": 3}
    reasons = {bad.path.rpartition("/")[2]: bad.reason for bad in summary.bad}
    assert set(reasons) == {"d.mp4", "e.mp4"} and "no video stream" in reasons["e.mp4"]


def test_files_that_break_off_are_found(shared_data):
    folder = FileSource(kind="folder", path=str(shared_data / "decode"))
    bad = inspect_source(open_source(folder), decoder="pyav").bad
    assert [item.path.rpartition("/")[2] for item in bad] == ["corrupted.mp4"]


def test_sheet(source, tmp_path):
    examples = example_frames(source, rows=5, columns=4, height_px=24, decoder="pyav")
    assert [clip.shape[0] for clip in examples] == [4, 4, 4]
    path = contact_sheet(examples, tmp_path / "sheet.png", height_px=24)
    with Image.open(path) as sheet:
        assert sheet.size == (4 * 36 + 3 * 2, 3 * 24 + 2 * 2)
        first, last = sheet.getpixel((10, 10)), sheet.getpixel((4 * 36 - 5, 10))
    assert first < last  # time runs from left to right


def test_sheet_of_nothing(tmp_path):
    assert contact_sheet([], tmp_path / "sheet.png").stat().st_size > 0


def test_sheet_of_different_sizes(tmp_path):
    clips = [torch.zeros(2, 10, 30, 3, dtype=torch.uint8), torch.zeros(5, 40, 20, 3, dtype=torch.uint8)]
    with Image.open(contact_sheet(clips, tmp_path / "sheet.png", height_px=20)) as sheet:
        assert sheet.size == (2 * 60 + 2, 42)


def test_images(shared_data):
    source = open_source(FileSource(kind="images", path=str(shared_data / "clothing" / "test" / "hat")))
    summary = inspect_source(source)
    assert (summary.files, summary.bad, summary.hours) == (12, (), 0.0)
    assert summary.codecs == {"jpeg": 12}
