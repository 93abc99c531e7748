"""Clips for measuring: all entries, in order, always the same."""

import pytest
import torch

from jepa.config.data import DataConfig, FileSource
from jepa.data.evaluation import labelled_clips
from jepa.data.pyav import PyAVVideo
from jepa.data.sources import open_source
from jepa.preprocess import preprocess


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
    names = [name.rpartition("/")[2] for b in batches for name in b.names]
    assert names == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4", "0.mp4[4:12]"]


def test_the_clip_is_the_preprocessed_centre(source):
    batch = next(labelled_clips(source, settings()))
    with PyAVVideo(source.entries[0].path) as video:
        expected = preprocess(video.read([7, 9, 11, 13]), 16)  # 14 places for 7 frames: the middle one
    assert torch.equal(batch.clip[0], expected)


def test_several_clips_of_a_video_are_neighbours(source):
    batch = next(labelled_clips(source, settings(), clips_per_video=2))
    assert batch.entries.tolist() == [0, 0, 1, 1]
    assert batch.clip[0].mean() < batch.clip[1].mean()


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
    batch = next(labelled_clips(images, settings(), clips_per_video=3))
    assert batch.clip.shape == (4, 3, 1, 16, 16) and batch.labels.tolist() == [0, 0, 0, 0]
