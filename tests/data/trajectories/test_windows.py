import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from jepa.data.trajectories.held_frames import fits, hold_frames
from jepa.data.trajectories.window_starts import WindowStarts, short_episodes
from jepa.data.trajectories.windows import all_windows, window_stream
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.preprocess import centre_pixels
from tests.data.trajectories.numbered import Numbered, data_of, numbered

EPISODES = [numbered(k, steps) for k, steps in enumerate((20, 7, 3, 40))]


class Broken(Numbered):
    """Cannot read frame 10, nor whatever is read with it."""

    def __getitem__(self, index):
        if 10 in index:
            raise UnreadableError("file.mp4", "damaged at frame 10")
        return super().__getitem__(index)


def broken(episode, steps):
    return numbered(episode, steps, frames=Broken(episode, steps + 1))


def stream(episodes=EPISODES, *, seed=0, start_step=0, steps=8, **changes):
    return list(window_stream(episodes, data_of(**changes), seed=seed, start_step=start_step, steps=steps))


def assert_same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert torch.equal(one.frames, other.frames) and torch.equal(one.actions, other.actions)
        assert (one.proprio is None) == (other.proprio is None)
        assert one.proprio is None or torch.equal(one.proprio, other.proprio)
        assert set(one.bad) == set(other.bad)


@pytest.mark.parametrize("cache_mb", [0, 100])
@pytest.mark.parametrize("skip", [1, 3])
def test_frames_actions_and_proprioception_belong_together(cache_mb, skip):
    batches = stream(cache_mb=cache_mb, frame_skip=skip, window=3, proprio=True)
    for windows in batches:
        assert windows.frames.shape == (32, 3, 3, 16, 16) and windows.frames.dtype == torch.uint8
        assert windows.actions.shape == (32, 2, 2 * skip) and windows.actions.dtype == torch.float32
        episode, frame = windows.frames[:, :, 0, 0, 0], windows.frames[:, :, 1, 0, 0]  # (B, T)
        assert (episode == episode[:, :1]).all()
        assert (frame.long().diff(dim=1) == skip).all()
        actions = windows.actions.view(32, 2, skip, 2)  # those of one model step, in order
        assert (actions[..., 0] == episode[:, :1, None]).all()
        expected = frame[:, :-1, None] + torch.arange(skip)
        assert (actions[..., 1] == expected).all()
        assert (windows.proprio[..., 0] == episode).all() and (windows.proprio[..., 1] == frame).all()


def test_every_window_is_equally_likely():
    batches = stream(steps=300, window=3, frame_skip=2, batch_size=100)
    starts = Counter()
    for windows in batches:
        first = windows.frames[:, 0, :2, 0, 0].tolist()
        starts.update(map(tuple, first))
    expected = {(k, s) for k, episode in enumerate(EPISODES) for s in range(len(episode) - 4 + 1)}
    assert set(starts) == expected  # every start, and no other
    share = np.array(list(starts.values())) / 30_000 * len(expected)
    assert abs(share - 1).max() < 0.25


def test_a_batch_is_a_function_of_seed_and_step():
    whole = stream(steps=6)
    assert_same(whole[4:], stream(start_step=4, steps=2))
    assert not torch.equal(whole[0].frames, stream(seed=1, steps=1)[0].frames)
    assert not torch.equal(whole[0].actions, whole[1].actions)


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    stream(cache_mb=0)
    stream()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_workers_and_memory_do_not_matter(cache_mb):
    alone = stream(proprio=True, steps=3)
    assert_same(alone, stream(proprio=True, steps=3, cache_mb=cache_mb, workers=2))
    assert_same(alone, stream(proprio=True, steps=3, cache_mb=cache_mb))


def test_frames_held_before_are_used():
    data = data_of(cache_mb=0)
    held = hold_frames(EPISODES, data)
    again = list(window_stream(EPISODES, data, seed=0, start_step=0, steps=8, held=held))
    assert_same(stream(), again)
    with pytest.raises(ValueError, match="frames of 4 episodes, there are 3"):
        window_stream(EPISODES[:3], data, seed=0, start_step=0, steps=8, held=held)


def encode(pixels):
    """Two tokens per frame, of three numbers."""
    return torch.stack([pixels.float().mean((2, 3)), pixels[:, :, 0, 0].float() / 7], dim=1)


@pytest.mark.parametrize("episodes", [EPISODES, [broken(0, 20), numbered(1, 20)]], ids=["sound", "damaged"])
@pytest.mark.parametrize("skip", [1, 2])
def test_held_latents_are_those_of_the_same_windows(episodes, skip):
    data = data_of(cache_mb=0, window=3, frame_skip=skip, proprio=True)
    held = hold_frames(episodes, data, encode=encode)
    plain = window_stream(episodes, data, seed=0, start_step=0, steps=6)
    for pixels, latents in zip(
        plain, window_stream(episodes, data, seed=0, start_step=0, steps=6, held=held), strict=True
    ):
        assert latents.is_encoded and not pixels.is_encoded
        expected = encode(pixels.frames.flatten(0, 1)).unflatten(0, pixels.frames.shape[:2])
        assert_same([latents], [replace(pixels, frames=expected)])
    ordered = zip(all_windows(episodes, data), all_windows(episodes, data, held=held), strict=True)
    for pixels, latents in ordered:
        expected = encode(pixels.frames.flatten(0, 1)).unflatten(0, pixels.frames.shape[:2])
        assert_same([latents], [replace(pixels, frames=expected)])


def test_held_episodes_are_those_that_can_be_read():
    episodes = [numbered(0, 4), broken(1, 20), numbered(2, 7)]
    held = hold_frames(episodes, data_of(), encode=encode)
    assert held.whole.tolist() == [True, False, True]
    assert [(len(z), round(7 * z[0, 1, 0].item())) for z in held.episodes()] == [(5, 0), (8, 2)]
    nothing = hold_frames([broken(0, 20)], data_of(), encode=encode)
    assert not nothing.whole.any() and nothing.episodes() == []
    (windows,) = window_stream(
        [broken(0, 20)], data_of(window=3), seed=0, start_step=0, steps=1, held=nothing
    )
    assert windows.frames.shape == (32, 3, 2, 3)


def test_progress_is_told():
    told = []
    hold_frames(EPISODES, data_of(), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_room_is_counted_at_the_resolution():
    frames = sum(len(episode.frames) for episode in EPISODES)
    assert fits(EPISODES, data_of(resolution=100, cache_mb=1 + frames * 30_000 // 1_000_000))
    assert not fits(EPISODES, data_of(resolution=[200, 100], cache_mb=1 + frames * 30_000 // 1_000_000))
    assert fits(EPISODES, data_of(cache_mb=1), frame_bytes=1_000_000 // frames)
    assert not fits(EPISODES, data_of(cache_mb=1), frame_bytes=1 + 1_000_000 // frames)


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_frames_are_resized_as_elsewhere(cache_mb):
    draws = np.random.default_rng(0)
    frames = draws.integers(0, 256, (6, 24, 40, 3), dtype=np.uint8)
    (windows,) = stream(
        [numbered(0, 5, frames=frames)], steps=1, resolution=[12, 10], window=6, cache_mb=cache_mb
    )
    assert torch.equal(windows.frames[0], centre_pixels(torch.from_numpy(frames), (12, 10)))


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_a_window_that_cannot_be_read_is_replaced_and_named(cache_mb):
    episodes = [broken(0, 20), numbered(1, 20)]
    batches = stream(episodes, cache_mb=cache_mb, steps=4, window=3)
    for windows in batches:
        damaged = windows.frames[:, :, 0, 0, 0] == 0
        assert not (windows.frames[:, :, 1, 0, 0][damaged] == 10).any()
    assert any(
        (windows.frames[:, 0, 0, 0, 0] == 0).any() for windows in batches
    )  # its sound windows are used
    bad = {bad for windows in batches for bad in windows.bad}
    assert [(b.path, b.reason) for b in bad] == [("episode-000000", "damaged at frame 10 (file.mp4)")]


def test_damage_gives_the_same_batches_with_and_without_memory():
    episodes = [broken(0, 20), numbered(1, 20)]
    assert_same(stream(episodes, window=3), stream(episodes, window=3, cache_mb=0))
    assert_same(stream(episodes, window=3), stream(episodes, window=3, cache_mb=0, workers=2))


@pytest.mark.parametrize(("cache_mb", "workers"), [(0, 0), (0, 1), (100, 0)])
def test_nothing_but_damage_is_an_error(cache_mb, workers):
    with pytest.raises(
        DataError, match="step 0: 16 windows in a row .* of episode-000000: damaged at frame 10"
    ):
        stream([broken(0, 10)], window=11, cache_mb=cache_mb, workers=workers)


def test_what_hangs_is_left_after_one_try():
    class Slow(Numbered):
        tries = 0

        def __getitem__(self, index):
            Slow.tries += 1
            time.sleep(0.3)
            return super().__getitem__(index)

    episodes = [numbered(0, 20, frames=Slow(0, 21)), numbered(1, 20)]
    batches = stream(episodes, cache_mb=0, steps=2, decode_timeout_s=0.05)
    assert all((windows.frames[:, 0, 0] == 1).all() for windows in batches)
    assert Slow.tries == 1
    assert "longer than data.decode_timeout_s" in batches[0].bad[0].reason


def test_episodes_too_short_for_a_window():
    data = data_of(window=3, frame_skip=4)
    assert [episode.name for episode in short_episodes(EPISODES, data)] == [
        "episode-000001",
        "episode-000002",
    ]
    assert not short_episodes(EPISODES, data, window=1)
    with pytest.raises(DataError, match=r"none of 2 .* window of 8 environment steps \(the longest has 7\)"):
        window_stream(EPISODES[1:3], data, seed=0, start_step=0, steps=1)
    with pytest.raises(DataError, match="none of 0 episodes"):
        WindowStarts([], 3)


def test_a_window_as_long_as_the_episode_has_one_start():
    starts = WindowStarts([numbered(0, 4), numbered(1, 5)], 4)
    assert starts.places(np.arange(len(starts))).tolist() == [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize("held", [False, True])
def test_all_windows_are_given_in_order(held):
    data = data_of(frame_skip=2, batch_size=5, proprio=True)
    memory = hold_frames(EPISODES, data) if held else None
    batches = list(all_windows(EPISODES, data, window=3, stride=3, held=memory))
    assert {len(windows.frames) for windows in batches[:-1]} == {5}
    first = torch.cat([windows.frames[:, 0, :2, 0, 0] for windows in batches]).tolist()
    assert first == [[k, s] for k, e in enumerate(EPISODES) for s in range(0, len(e) - 4 + 1, 3)]
    last = torch.cat([windows.frames[:, -1, 1, 0, 0] for windows in batches]).tolist()
    assert last == [s + 4 for _, s in first]
    assert torch.cat([windows.actions[:, -1, -1] for windows in batches]).tolist() == [
        s + 3 for _, s in first
    ]


def test_all_windows_share_no_step_by_default():
    batches = list(all_windows(EPISODES, data_of(window=4), stride=None))
    first = torch.cat([windows.frames[:, 0, :2, 0, 0] for windows in batches]).tolist()
    assert first == [[k, s] for k, e in enumerate(EPISODES) for s in range(0, len(e) - 2, 3)]


def test_all_windows_leave_out_and_name_what_cannot_be_read():
    episodes = [numbered(0, 6), broken(1, 14)]
    batches = list(all_windows(episodes, data_of(batch_size=2), window=3))
    first = torch.cat([windows.frames[:, 0, :2, 0, 0] for windows in batches]).tolist()
    assert first == [[0, 0], [0, 2], [0, 4], [1, 0], [1, 2], [1, 4], [1, 6], [1, 12]]
    assert {bad.path for windows in batches for bad in windows.bad} == {"episode-000001"}
    with pytest.raises(DataError, match="no window can be read, the last of episode-000001"):
        list(all_windows([broken(1, 10)], data_of(), window=11))
    at_the_end = list(all_windows([numbered(0, 10), broken(1, 10)], data_of(batch_size=1), window=11))
    assert len(at_the_end) == 1 and at_the_end[0].bad[0].path == "episode-000001"


def test_the_stream_is_read_step_by_step():
    endless = window_stream(EPISODES, data_of(), seed=0, start_step=0, steps=10**9)
    assert len(list(islice(endless, 2))) == 2


class Deadly(Numbered):
    """Ends the decoding process that reads it."""

    def __getitem__(self, index):
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return super().__getitem__(index)


def test_workers_killed_at_random_moments_lose_no_batch():
    unbroken = stream(cache_mb=0, workers=0, steps=30)
    opened = window_stream(EPISODES, data_of(cache_mb=0, workers=2), seed=0, start_step=0, steps=30)
    batches = []
    for number, batch in enumerate(opened):
        batches.append(batch)
        if number % 6 == 0:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    assert_same(unbroken, batches)
    assert opened.counts["workers_replaced"] >= 4


def test_an_episode_that_ends_its_process_counts_as_unreadable():
    deadly = numbered(1, 7, frames=Deadly(1, 8))
    opened = window_stream(
        [EPISODES[0], deadly], data_of(cache_mb=0, workers=1), seed=0, start_step=0, steps=3
    )
    batches = list(opened)
    assert {bad.reason for batch in batches for bad in batch.bad} == {
        "ended its decoding process: ended with code 1"
    }
    assert all((batch.frames[:, :, 0, 0, 0] == 0).all() for batch in batches)  # episode 0 alone
    assert opened.counts["workers_replaced"] == 3
