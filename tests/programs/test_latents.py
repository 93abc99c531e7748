"""Whole episodes encoded: every frame once, in order, however many at once."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console

from jepa.config.world_model import FrozenFrames
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.models.frames import build_frames
from jepa.programs import latents
from jepa.programs.latents import encode_episodes, fit_components, hold_latents
from jepa.runtime.terminal import Progress
from jepa.types import Trajectory
from tests.data.trajectories.numbered import data_of

CPU = torch.device("cpu")


class First:
    """Encodes a frame as its first pixels."""

    frame_skip = history = 1

    def encode(self, frames):
        assert frames.dtype == torch.uint8 and frames.shape[-1] == 3
        return frames[:, :, 0, :2].double()  # (B, T, 2, 3)


def episode(frames: int, seed: int) -> Trajectory:
    pixels = np.random.default_rng(seed).integers(256, size=(frames, 4, 4, 3), dtype=np.uint8)
    return Trajectory("", pixels, np.zeros((frames - 1, 1), np.float32))


@pytest.mark.parametrize("at_once", [1, 4, 5, 256])
def test_every_frame_is_encoded_in_its_place(monkeypatch, at_once):
    monkeypatch.setattr(latents, "FRAMES_AT_ONCE", at_once)
    episodes = [episode(9, 0), episode(4, 1)]
    whole = encode_episodes(First(), episodes)
    assert [tuple(z.shape) for z in whole] == [(9, 2, 3), (4, 2, 3)]
    for z, one in zip(whole, episodes, strict=True):
        assert z.dtype == torch.float32 and z.numpy() == pytest.approx(one.frames[:, 0, :2].astype(float))
    pooled = encode_episodes(First(), episodes, pool=True)
    for z, mean in zip(whole, pooled, strict=True):
        torch.testing.assert_close(mean, z.mean(1, keepdim=True))


def room(frames: int, seed: int) -> Trajectory:
    pixels = np.random.default_rng(seed).integers(256, size=(frames, 16, 16, 3), dtype=np.uint8)
    return Trajectory(f"room {seed}", pixels, np.zeros((frames - 1, 1), np.float32))


class Damaged:
    def __len__(self):
        return 30

    def __getitem__(self, index):
        raise UnreadableError("file.mp4", "damaged")


@pytest.fixture
def frozen(trained):
    return lambda **changes: build_frames(
        FrozenFrames(kind="frozen", source=str(trained), **changes), resolution=16
    )


@pytest.mark.parametrize("at_once", [4, 256])
def test_latents_are_held_where_they_fit(monkeypatch, frozen, at_once):
    monkeypatch.setattr(latents, "FRAMES_AT_ONCE", at_once)
    encoder, episodes, said = frozen(), [room(9, 0), room(4, 1)], io.StringIO()
    progress = Progress(1, console=Console(file=said))
    size = encoder.tokens * encoder.dim
    settings = {"device": CPU, "dtype": "float32", "progress": progress}
    held = hold_latents(encoder, episodes, data_of(), **settings)
    for z, one in zip(held.episodes(), episodes, strict=True):
        assert z.dtype == torch.float32
        pixels = torch.from_numpy(one.frames).permute(0, 3, 1, 2)
        torch.testing.assert_close(z, encoder(pixels[None])[0], atol=1e-5, rtol=1e-5)
    assert f"encoding 13 frames once, {13 * 4 * size / 1e6:.0f} MB" in said.getvalue()
    assert "encoded 1 of 2" not in said.getvalue()
    monkeypatch.setattr(latents, "SECONDS_BETWEEN_NOTES", 0)
    hold_latents(encoder, episodes, data_of(), **settings)
    assert "encoded 1 of 2 episodes  eta " in said.getvalue()
    assert hold_latents(encoder, episodes, data_of(cache_mb=0), **settings) is None
    assert "more than data.cache_mb 0: every step encodes its own" in said.getvalue()
    encoder.trained = True
    assert hold_latents(encoder, episodes, data_of(), **settings) is None


def test_components_are_fitted_to_frames_of_all_episodes(monkeypatch, frozen):
    encoder, seen = frozen(components=3), []
    episodes = [room(10, 0), Trajectory("", Damaged(), np.zeros((29, 1), np.float32)), room(20, 1)]
    plain = encoder.encoded
    monkeypatch.setattr(encoder, "encoded", lambda pixels: seen.append(pixels) or plain(pixels))
    monkeypatch.setattr(latents, "MOST_SAMPLES", 20)
    count, share = fit_components(encoder, episodes, data_of(), device=CPU)
    assert encoder.components.is_fitted and 0 < share <= 1
    # 60 frames, every third: of the last episode, frames 2, 5, ...; those of the damaged one are missing.
    assert count == 10 and [len(pixels) for pixels in seen] == [4, 6]
    for pixels, episode, start in ((seen[0], episodes[0], 0), (seen[1], episodes[2], 2)):
        assert np.array_equal(pixels.permute(0, 2, 3, 1).numpy(), episode.frames[start::3])
    monkeypatch.setattr(latents, "MOST_SAMPLES", 2)
    with pytest.raises(DataError, match="3 components need as many frames, 1 can be read -- ask for fewer"):
        fit_components(encoder, episodes, data_of(), device=CPU)
