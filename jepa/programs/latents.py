"""Whole episodes as a world model sees them: what is learned in its latent space, or looked up there."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from jepa.config.trajectories import TrajectoryData
from jepa.data.trajectories.frame_reading import EpisodeReader
from jepa.data.trajectories.held_frames import Encode, HeldFrames, fits, hold_frames
from jepa.data.video import UnreadableError
from jepa.errors import DataError
from jepa.models.frames import FrameEncoder, FrozenFrameEncoder
from jepa.runtime.device import autocast
from jepa.runtime.terminal import Progress, duration
from jepa.types import Trajectory, WorldModel

FRAMES_AT_ONCE = 256
SECONDS_BETWEEN_NOTES = 20
MOST_SAMPLES = 8192  # frames that principal components are fitted to
MOST_NUMBERS = 2**28  # of their tokens, a gigabyte: of frames with many tokens, fewer are taken


@torch.inference_mode()
def encode_episodes(
    world_model: WorldModel, episodes: Sequence[Trajectory], *, pool: bool = False
) -> list[Tensor]:
    """Encode each frame of each episode alone: (T + 1, N, D) each, on the CPU; ``pool`` keeps token means, N = 1."""
    return [encode_frames(world_model, episode, pool=pool) for episode in episodes]


def encode_frames(world_model: WorldModel, episode: Trajectory, *, pool: bool) -> Tensor:
    """Encode the frames of one episode: (T + 1, N, D)."""
    parts = []
    for first in range(0, len(episode.frames), FRAMES_AT_ONCE):
        index = np.arange(first, min(first + FRAMES_AT_ONCE, len(episode.frames)))
        z = world_model.encode(torch.as_tensor(episode.frames[index])[None])[0]  # (n, N, D)
        parts.append((z.mean(1, keepdim=True) if pool else z).float().cpu())
    return torch.cat(parts)


def hold_latents(
    frames: FrameEncoder,
    episodes: Sequence[Trajectory],
    data: TrajectoryData,
    *,
    device: torch.device,
    dtype: str,
    progress: Progress,
) -> HeldFrames | None:
    """Encode every frame once, as training would in each step, where the encoder is frozen and the latents fit.

    None where it is trained, or where the latents, N * D numbers of 4 bytes a frame, exceed ``data.cache_mb``.
    """
    count, size = sum(len(episode.frames) for episode in episodes), frames.tokens * frames.dim
    if frames.trained:
        return None
    if not fits(episodes, data, frame_bytes=4 * size):
        progress.note(
            f"the latents of {count} frames take {4 * size * count / 1e6:.0f} MB, more than data.cache_mb "
            f"{data.cache_mb}: every step encodes its own"
        )
        return None
    progress.note(f"encoding {count} frames once, {4 * size * count / 1e6:.0f} MB of latents")
    began = told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > SECONDS_BETWEEN_NOTES:
            told = time.monotonic()
            progress.note(
                f"encoded {done} of {total} episodes  eta {duration((told - began) * (total - done) / done)}"
            )

    held = hold_frames(episodes, data, encode=_encode(frames, device, dtype), progress=tell)
    took = time.monotonic() - began
    progress.note(f"encoded in {duration(took)}, {count / max(took, 1e-9):.0f} frames/s")
    return held


def _encode(frames: FrameEncoder, device: torch.device, dtype: str) -> Encode:
    """Return what encodes frames as a training step does, (n, 3, H, W) uint8 -> (n, N, D) float32, on the CPU."""

    def encode(pixels: Tensor) -> Tensor:
        with torch.no_grad(), autocast(device, dtype):
            parts = [
                frames(part[None].to(device))[0].float().cpu() for part in torch.split(pixels, FRAMES_AT_ONCE)
            ]
        return torch.cat(parts)

    return encode


def fit_components(
    frames: FrozenFrameEncoder, episodes: Sequence[Trajectory], data: TrajectoryData, *, device: torch.device
) -> tuple[int, float]:
    """Find the principal components of frames evenly spread over ``episodes``; return their number and the share kept.

    Raises DataError where fewer frames can be read than there are components.
    """
    assert frames.components is not None
    most = max(1, min(MOST_SAMPLES, MOST_NUMBERS // len(frames.components.mean)))
    every = -(-sum(len(episode.frames) for episode in episodes) // most)
    reader, samples, first = EpisodeReader(data), [], 0
    for episode in episodes:
        index = np.arange(-first % every, len(episode.frames), every)
        first += len(episode.frames)
        try:
            pixels = reader.read(episode, index) if len(index) else None
        except UnreadableError:
            continue  # it is named when windows are cut from it
        if pixels is not None:
            samples.append(frames.encoded(pixels.to(device)).flatten(1).cpu())
    count = sum(map(len, samples))
    if count < frames.dim:
        raise DataError(
            f"frames.components: {frames.dim} components need as many frames, {count} can be read -- ask for fewer, or "
            "give more episodes"
        )
    return count, frames.components.fit(torch.cat(samples).to(device))
