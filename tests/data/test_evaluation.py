"""Clips for measuring: all entries, in order, always the same."""

import numpy as np
import pytest
import torch

from jepa.config.data import DataConfig, FileSource
from jepa.data.evaluation import Cut, labelled_clips
from jepa.data.pyav import PyAVVideo
from jepa.data.sources import open_source
from jepa.errors import DataError
from jepa.preprocess import denormalise, preprocess


@pytest.fixture(scope="module")
def source(tmp_path_factory, write_video):
    path = tmp_path_factory.mktemp("labelled")
    for index in range(5):
        write_video(path / f"{index}.mp4", frames=20)
    (path / "5.mp4").write_bytes(b"")
    rows = [f"{i}.mp4,{'ab'[i % 2]},," for i in range(6)] + ["0.mp4,b,4,12"]
    (path / "list.csv").write_text("\n".join(rows))
    return open_source(FileSource(kind="csv", path=str(path / "list.csv")))


def settings(**changes):
    base = {
        "sources": [{"kind": "folder", "path": "."}],
        "frames_per_clip": 4,
        "stride": 2,
        "resolution": 16,
        "batch_size": 4,
        "workers": 0,
        "decoder": "pyav",
    }
    return DataConfig.model_validate(base | changes, strict=False)


def test_every_good_entry_once_and_in_order(source):
    batches = list(labelled_clips(source, settings()))
    assert torch.cat([b.entries for b in batches]).tolist() == [0, 1, 2, 3, 4, 6]
    assert torch.cat([b.labels for b in batches]).tolist() == [0, 1, 0, 1, 0, 1]
    assert [bad.path.rpartition("/")[2] for b in batches for bad in b.bad] == ["5.mp4"]
    assert torch.cat([b.times for b in batches])[-1].mul(8).tolist() == [5, 7, 9, 11]  # the centre of 4 to 12


def test_the_clip_is_the_preprocessed_centre(source):
    batch = next(labelled_clips(source, settings()))
    with PyAVVideo(source.entries[0].path) as video:
        expected = preprocess(video.read([7, 9, 11, 13]), 16)  # 14 places for 7 frames: the middle one
    assert torch.equal(batch.clip[0], expected)


def test_several_clips_of_a_video_are_neighbours(source):
    batch = next(labelled_clips(source, settings(), cut=Cut(clips=2)))
    assert batch.entries.tolist() == [0, 0, 1, 1] and batch.clips.tolist() == [0, 1, 0, 1]
    assert batch.clip[0].mean() < batch.clip[1].mean() and batch.times[0, 0] < batch.times[1, 0]


def test_three_views_are_crops_along_the_longer_side(tmp_path, write_video):
    from jepa.data.synthetic import write_mp4

    frames = np.zeros((4, 32, 96, 3), np.uint8)
    frames[:, :, :32], frames[:, :, 64:] = 60, 200  # left dark grey, centre black, right bright
    write_mp4(tmp_path / "a.mp4", frames, fps=8)
    wide = open_source(FileSource(kind="folder", path=str(tmp_path)))
    batch = next(labelled_clips(wide, settings(stride=1), cut=Cut(views=3)))
    assert batch.views.tolist() == [0, 1, 2] and batch.entries.tolist() == [0, 0, 0]
    pixels = denormalise(batch.clip).float().mean((1, 2, 3, 4))
    assert [round(float(one) / 20) * 20 for one in pixels] == [60, 0, 200]
    centre = next(labelled_clips(wide, settings(stride=1)))
    assert torch.equal(centre.clip[0], batch.clip[1])


def test_views_of_a_clip_stay_with_it(source):
    together = next(labelled_clips(source, settings(batch_size=6), cut=Cut(clips=2, views=3)))
    centres = next(labelled_clips(source, settings(batch_size=2), cut=Cut(clips=2)))
    assert torch.equal(together.clip[together.views == 1], centres.clip)
    assert torch.equal(together.times[together.views == 2], centres.times)


def test_only_the_entries_asked_for(source):
    batches = list(labelled_clips(source, settings(), entries=[6, 2]))
    assert torch.cat([b.entries for b in batches]).tolist() == [6, 2]


def test_a_clip_to_anticipate_from_ends_before_the_entry(tmp_path, write_video, numbers):
    write_video(tmp_path / "a.mp4", frames=24)  # 8 fps
    (tmp_path / "list.csv").write_text("a.mp4,b,16,20\na.mp4,b,2,8\na.mp4,b,,")
    listed = open_source(FileSource(kind="csv", path=str(tmp_path / "list.csv")))
    batches = list(labelled_clips(listed, settings(stride=1), cut=Cut(ahead_s=0.5)))
    times = torch.cat([b.times for b in batches])
    # Half a second before frame 16, and before the last frame of the whole video.
    assert times.mul(8).tolist() == [[9, 10, 11, 12], [16, 17, 18, 19]]
    assert "nothing is to be seen 0.5 s before frame 2" in batches[0].bad[0].reason


@pytest.mark.parametrize("workers", [0, 1])
def test_more_clips_than_frames_is_no_bad_file_but_an_error(tmp_path, write_video, workers):
    write_video(tmp_path / "a.mp4", frames=3)
    short = open_source(FileSource(kind="folder", path=str(tmp_path)))
    with pytest.raises(DataError, match="4 clips are asked for, but there are 3 frames"):
        list(labelled_clips(short, settings(workers=workers), cut=Cut(clips=4)))


def test_a_cut_that_makes_no_sense_is_refused():
    with pytest.raises(DataError, match="views must be 1 or 3, got 2"):
        Cut(views=2)
    with pytest.raises(DataError, match="1 where something is anticipated, got 2"):
        Cut(clips=2, ahead_s=1.0)


def test_workers_and_jitter_change_nothing(source):
    plain = list(labelled_clips(source, settings()))
    other = list(labelled_clips(source, settings(workers=2, jitter=False, augment={"color": 0.5})))
    assert all(torch.equal(a.clip, b.clip) for a, b in zip(plain, other, strict=True))


def test_a_batch_of_bad_files_is_empty(source, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    nothing = open_source(FileSource(kind="folder", path=str(tmp_path)))
    (batch,) = labelled_clips(nothing, settings())
    assert batch.clip.shape == (0, 3, 4, 16, 16) and batch.labels.shape == (0,) and len(batch.bad) == 1


def test_images(shared_data):
    images = open_source(FileSource(kind="images", path=str(shared_data / "clothing" / "test")))
    batch = next(labelled_clips(images, settings(), cut=Cut(clips=3)))
    assert batch.clip.shape == (4, 3, 1, 16, 16) and batch.labels.tolist() == [0, 0, 0, 0]
