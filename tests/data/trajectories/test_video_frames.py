import threading

import numpy as np
import pytest
import torch

from jepa.data.trajectories import video_frames
from jepa.data.trajectories.video_frames import OPEN, VideoFrames
from jepa.data.video import UnreadableError


@pytest.fixture
def opened(monkeypatch):
    """Count how often each file is opened."""
    monkeypatch.setattr(video_frames, "OPEN_VIDEOS", video_frames._OpenVideos())
    paths, open_video = [], video_frames.open_video

    def count(path, decoder):
        paths.append(path)
        return open_video(path, decoder)

    monkeypatch.setattr(video_frames, "open_video", count)
    return paths


def test_a_part_of_a_video_by_number_and_by_time(tmp_path, write_video, numbers):
    path = str(write_video(tmp_path / "a.mp4", frames=24, fps=8))
    index = np.array([0, 1, 1, 5])
    for frames in (VideoFrames(path, 6, start=9), VideoFrames(path, 6, start_s=9 / 8 + 0.01)):
        assert len(frames) == 6
        assert numbers(torch.from_numpy(frames[index])) == [9, 10, 10, 14]


def test_a_video_stays_open_between_reads(tmp_path, write_video, numbers, opened):
    path = str(write_video(tmp_path / "a.mp4", frames=24))
    parts = [VideoFrames(path, 8), VideoFrames(path, 8, start=12)]
    read = [numbers(torch.from_numpy(part[np.array([7])])) for part in [*parts, *parts]]
    assert read == [[7], [19], [7], [19]]
    assert opened == [path]


def test_only_so_many_stay_open(tmp_path, write_video, opened):
    paths = [str(write_video(tmp_path / f"{k}.mp4", frames=2)) for k in range(OPEN + 1)]
    for path in [*paths, *paths[:2]]:
        VideoFrames(path, 2)[np.array([0])]
    assert opened == [*paths, *paths[:2]]  # each was closed for the next one


def test_a_read_that_hangs_keeps_its_video_to_itself(tmp_path, write_video, opened, monkeypatch):
    path = str(write_video(tmp_path / "a.mp4", frames=4))
    frames, begun, released = VideoFrames(path, 4), threading.Event(), threading.Event()
    with video_frames.OPEN_VIDEOS.taken(path, "auto") as video:
        read = video.read

    def hang(indices):
        begun.set()
        released.wait(10)
        return read(indices)

    monkeypatch.setattr(video, "read", hang)
    thread = threading.Thread(target=lambda: frames[np.array([0])])
    thread.start()
    begun.wait(10)
    frames[np.array([1])]
    released.set()
    thread.join()
    assert opened == [path, path]


def test_a_video_that_cannot_be_read_is_opened_anew(tmp_path, write_video, numbers, opened):
    path = write_video(tmp_path / "a.mp4", frames=3)
    with pytest.raises(UnreadableError, match="has 3 frames, but the episode's 5 frames start at frame 0"):
        VideoFrames(str(path), 5)[np.array([0])]
    write_video(path, frames=5)
    assert numbers(torch.from_numpy(VideoFrames(str(path), 5)[np.array([4])])) == [4]
    assert len(opened) == 2
