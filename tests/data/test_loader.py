"""The stream's promise: batch k is batch k, whoever builds it and wherever the stream starts."""

import multiprocessing
import os
import pickle
import random
import signal
import threading
import time

import av
import numpy as np
import pytest
import torch
from PIL import Image

from jepa.config.data import AugmentConfig, DataConfig
from jepa.data import dataset, reading
from jepa.data.augment import augment_pixels
from jepa.data.dataset import TrainingBatches
from jepa.data.loader import train_stream
from jepa.data.pyav import PyAVVideo
from jepa.data.sampling import ClipShape, clip_indices, clip_places
from jepa.errors import DataError
from jepa.preprocess import normalise
from jepa.runtime.seeding import generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_video):
    path = tmp_path_factory.mktemp("videos")
    for index in range(5):
        write_video(path / "videos" / f"{index}.mp4", frames=10 + index)
    (path / "images").mkdir()
    for index in range(4):
        Image.new("RGB", (40, 30), (40 * index, 90, 10)).save(path / "images" / f"{index}.png")
    return path


@pytest.fixture
def stream(folder, sample_masks):
    def open_stream(*, start=0, steps=6, seed=0, pin_memory=False, **changes):
        sources = [
            {"kind": "folder", "path": str(folder / "videos")},
            {"kind": "images", "path": str(folder / "images")},
        ]
        settings = {
            "sources": sources,
            "frames_per_clip": 4,
            "fps": 6.0,
            "resolution": 16,
            "batch_size": 4,
            "clips_per_video": 2,
            "workers": 0,
            "decoder": "pyav",
            "augment": {"color": 0.2},
        } | changes
        data = DataConfig.model_validate(settings, strict=False)
        return train_stream(
            data, seed=seed, start_step=start, steps=steps, sample_masks=sample_masks, pin_memory=pin_memory
        )

    return open_stream


def same(first, second):
    return (
        torch.equal(first.clip, second.clip)
        and all(
            torch.equal(a.context, b.context) and torch.equal(a.target, b.target)
            for a, b in zip(first.masks, second.masks, strict=True)
        )
        and first.bad == second.bad
    )


def test_shapes(stream):
    shapes = {tuple(batch.clip.shape) for batch in stream()}
    assert shapes == {(4, 3, 4, 16, 16), (4, 3, 1, 16, 16)}


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_what_the_plain_steps_make(tmp_path, stream, workers):
    """Decode whole clips, augment, normalise, one step after the other."""
    noise = np.random.default_rng(0)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        written = container.add_stream("libx264", rate=6)
        written.height, written.width, written.pix_fmt = 48, 64, "yuv420p"
        for _ in range(30):
            image = noise.integers(255, size=(48, 64, 3), dtype=np.uint8)
            container.mux(written.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(written.encode())
    statistics = {"mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3)}
    sources = [{"kind": "folder", "path": str(tmp_path)}]
    batch = next(stream(sources=sources, workers=workers, seed=5, start=3, steps=1, **statistics))
    wanted = []
    with PyAVVideo(str(tmp_path / "a.mp4")) as video:
        for group in range(2):
            draws = generator(5, "clips", 3, group)
            places = clip_places(2, jitter=True, generator=draws)
            for indices in clip_indices(video.times, ClipShape(4, fps=6.0), places).tolist():
                pixels = augment_pixels(
                    video.read(indices), AugmentConfig(color=0.2), resolution=16, generator=draws
                )
                wanted.append(normalise(pixels, **statistics))
    assert torch.equal(batch.clip, torch.stack(wanted))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache_mb", [0, 50])
def test_a_resumed_stream_is_the_unbroken_one(stream, workers, cache_mb):
    unbroken = list(stream(steps=8))
    resumed = list(stream(start=3, steps=5, workers=workers, cache_mb=cache_mb))
    assert len(resumed) == 5
    assert all(same(*pair) for pair in zip(unbroken[3:], resumed, strict=True))


def test_seeds_and_steps_differ(stream):
    first, other = list(stream(steps=4)), list(stream(steps=4, seed=1))
    assert not any(torch.equal(a.clip, b.clip) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0].masks[0].context, first[2].masks[0].context)


def test_one_video_gives_another_clip_at_every_step(stream, tmp_path, write_video):
    write_video(tmp_path / "a.mp4")
    sources = [{"kind": "folder", "path": str(tmp_path)}]
    clips = torch.cat(
        [batch.clip for batch in stream(sources=sources, augment={"color": 0.5}, clips_per_video=1)]
    )
    assert len(torch.unique(clips.flatten(1), dim=0)) > 20  # of 24


def test_what_workers_are_given_can_be_pickled(sample_masks):
    data = DataConfig.model_validate({"sources": [{"kind": "folder", "path": "."}], "fps": 4.0}, strict=False)
    batches = TrainingBatches([], data, seed=0, decoder="pyav", sample_masks=sample_masks)
    assert isinstance(pickle.loads(pickle.dumps(batches)), TrainingBatches)  # as under the spawn start method


def test_torchs_own_randomness_is_left_alone(stream):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(stream(steps=2))
    assert torch.equal(torch.rand(3), expected)


def test_clips_of_a_video_are_neighbours_and_differ(stream):
    plain = {"scale": (1.0, 1.0), "flip": 0.0, "color": 0.0}
    pairs = []
    for batch in stream(augment=plain, image_fraction=0.0, fps=None, stride=1):
        pairs.extend(batch.clip.mean(dim=(1, 3, 4))[:, 0].view(2, 2).tolist())  # a frame's grey is its number
    assert all(first <= second for first, second in pairs)  # from the first and the second half of one video
    assert sum(first < second for first, second in pairs) > len(pairs) / 2


def test_missing_sources_are_reported_before_the_first_batch(stream):
    with pytest.raises(DataError, match="this folder does not exist"):
        stream(sources=[{"kind": "folder", "path": "/none"}])


@pytest.fixture
def damaged(tmp_path, write_video):
    for index in range(6):
        write_video(tmp_path / f"{index}.mp4", frames=8)
    (tmp_path / "6.mp4").write_bytes(b"")
    (tmp_path / "7.mp4").write_bytes(b"not a video")
    return [{"kind": "folder", "path": str(tmp_path)}]


def test_bad_files_are_named_and_replaced_alike_by_all_workers(stream, damaged):
    alone, together = (list(stream(steps=8, sources=damaged, workers=workers)) for workers in (0, 2))
    assert all(same(*pair) for pair in zip(alone, together, strict=True))
    bad = {item.path.rpartition("/")[2]: item.reason for batch in alone for item in batch.bad}
    assert set(bad) == {"6.mp4", "7.mp4"} and bad["6.mp4"] == "the file is empty (0 bytes)"
    assert all(batch.clip.shape[0] == 4 for batch in alone)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_without_a_good_file_stops(stream, tmp_path, workers):
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"^step 0: 16 files in a row cannot be read, the last .*a.mp4: the file is empty"
    ):
        list(stream(sources=[{"kind": "folder", "path": str(tmp_path)}], workers=workers))


@pytest.mark.parametrize("kind", [TypeError, ValueError])
def test_a_bug_in_a_worker_is_not_taken_for_a_bad_file(stream, monkeypatch, kind):
    def broken(*args, **settings):
        raise kind("a bug")

    monkeypatch.setattr(dataset.Augmentation, "cut", broken)
    with pytest.raises(kind, match="a bug"):
        list(stream())


def test_a_hanging_decoder_is_bounded_in_time(stream, damaged, monkeypatch):
    opened = reading.open_media
    tries = []

    def hang(path, modality, decoder):
        if path.endswith("0.mp4"):
            tries.append(path)
            time.sleep(60)
        return opened(path, modality, decoder)

    monkeypatch.setattr(reading, "open_media", hang)
    begin = time.monotonic()
    batches = list(stream(steps=12, sources=damaged, decode_timeout_s=0.3))
    assert time.monotonic() - begin < 10
    reasons = {item.reason for batch in batches for item in batch.bad if item.path.endswith("0.mp4")}
    assert reasons == {"decoding took longer than data.decode_timeout_s = 0.3 s"}
    assert len(tries) == 1  # waited for once, not once per epoch


def test_workers_killed_at_random_moments_lose_no_batch(stream):
    draw = random.Random(1)
    unbroken = list(stream(steps=60))
    broken, batches = stream(steps=60, workers=2), []
    for batch in broken:
        batches.append(batch)
        if draw.random() < 0.25:
            os.kill(draw.choice(multiprocessing.active_children()).pid, signal.SIGKILL)
    assert all(same(*pair) for pair in zip(unbroken, batches, strict=True))
    assert broken.counts["workers_replaced"] >= 5


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda: os._exit(1), "ended its decoding process: ended with code 1"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "ended its decoding process: killed by SIGKILL"),
    ],
)
def test_a_file_that_ends_its_process_is_replaced_as_an_unreadable_one_is(
    stream, damaged, monkeypatch, harm, reason
):
    opened = reading.open_media

    def dangerous(path, modality, decoder):
        if path.endswith("0.mp4") and multiprocessing.parent_process() is not None:
            harm()
        return opened(path, modality, decoder)

    monkeypatch.setattr(reading, "open_media", dangerous)
    together = stream(steps=10, sources=damaged, workers=2)
    batches = list(together)
    deadly = damaged[0]["path"] + "/0.mp4"
    with open(deadly, "wb"):  # from now on it is empty, and as such unreadable
        pass
    alone = list(stream(steps=10, sources=damaged))
    assert all(torch.equal(a.clip, b.clip) for a, b in zip(alone, batches, strict=True))
    reasons = {item.reason for batch in batches for item in batch.bad if item.path == deadly}
    assert reasons == {reason}
    assert 3 <= together.counts["workers_replaced"] <= 6


@pytest.mark.parametrize("workers", [0, 2])
def test_a_source_that_disappears_and_returns_is_waited_for(stream, folder, workers, monkeypatch):
    monkeypatch.setattr(reading, "FIRST_WAIT_S", 0.05)
    unbroken = list(stream(steps=10, image_fraction=0.0))
    broken, batches = stream(steps=10, image_fraction=0.0, workers=workers), []
    timer = threading.Timer(0.3, (folder / "gone").rename, [folder / "videos"])
    for number, batch in enumerate(broken):
        batches.append(batch)
        if number == 2:
            (folder / "videos").rename(folder / "gone")
            timer.start()
    assert all(same(*pair) for pair in zip(unbroken, batches, strict=True))
    assert broken.counts["source_waits"] >= 2


def test_a_source_that_does_not_return_counts_as_bad(stream, folder, monkeypatch):
    monkeypatch.setattr(reading, "FIRST_WAIT_S", 0.05)
    broken = stream(steps=4, image_fraction=0.0, retry_s=0.2)
    next(broken)
    (folder / "videos").rename(folder / "gone")
    begin = time.monotonic()
    with pytest.raises(DataError, match="16 files in a row cannot be read, the last .*No such file"):
        list(broken)
    assert time.monotonic() - begin < 2  # the patience is for all of them together
    (folder / "gone").rename(folder / "videos")
