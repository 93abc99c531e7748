"""Whole episodes encoded: every frame once, in order, however many at once."""

import numpy as np
import pytest
import torch

from jepa.programs import latents
from jepa.programs.latents import encode_episodes
from jepa.types import Trajectory


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
