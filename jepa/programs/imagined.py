"""Imagined futures to look at: no pixel is decoded, so each imagined frame is shown as the nearest real one."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from jepa.data.inspect import draw_sheet
from jepa.probes.index import build_index
from jepa.programs.latents import encode_episodes
from jepa.runtime.seeding import generator
from jepa.types import Trajectory, Windows, WorldModel

MOST_FRAMES = 5000  # training frames that are looked through
COLUMNS = 9


@torch.inference_mode()
def imagined_sheet(
    world_model: WorldModel, train: Sequence[Trajectory], windows: Windows, *, context: int
) -> Image.Image:
    """Draw two rows per window: what happened, and what was imagined from the first ``context`` frames on.

    An imagined frame is shown as the training frame whose latent is nearest, among at most `MOST_FRAMES`.
    """
    shown = np.linspace(context, windows.frames.shape[1] - 1, COLUMNS - 1).round().astype(int)
    shown = np.unique(shown)
    z = world_model.encode(windows.frames[:, :context].movedim(2, -1))
    future = world_model.rollout(
        z,
        windows.actions[:, context - 1 :].to(z.device),
        past_actions=windows.actions[:, : context - 1].to(z.device),
        proprio=None if windows.proprio is None else windows.proprio[:, :context].to(z.device),
    )  # (B, H, N, D)
    asked = future[:, torch.from_numpy(shown - context).to(z.device)].cpu()  # (B, columns, N, D)
    nearest = _nearest_frames(world_model, train, asked.flatten(2).flatten(0, 1))
    pictures = iter(nearest)
    rows = []
    for frames in windows.frames.movedim(2, -1):  # (T, H, W, 3)
        rows.append([frames[context - 1], *(frames[step] for step in shown)])
        rows.append([frames[context - 1], *(torch.from_numpy(next(pictures)) for _ in shown)])
    return draw_sheet(rows)


def _nearest_frames(
    world_model: WorldModel, train: Sequence[Trajectory], asked: Tensor
) -> list[NDArray[np.uint8]]:
    """Return the training frames whose latents are nearest to ``asked``, (n, N * D): n frames (H, W, 3)."""
    order = torch.randperm(len(train), generator=generator(0, "imagined")).tolist()
    chosen, frames = [], 0
    for place in order:
        chosen.append(train[place])
        frames += len(train[place].frames)
        if frames >= MOST_FRAMES:
            break
    bank = torch.cat([z.flatten(1) for z in encode_episodes(world_model, chosen)])[
        :MOST_FRAMES
    ]  # (frames, N * D)
    centre = bank.mean(0)  # latents of one encoder all point in about the same direction
    _, found = build_index((bank - centre).numpy(), kind="flat").search((asked - centre).numpy(), 1)
    first = np.cumsum([0, *(len(episode.frames) for episode in chosen)])  # of each episode in the bank
    pictures = []
    for row in found[:, 0].tolist():
        episode = int(np.searchsorted(first, row, side="right")) - 1
        pictures.append(chosen[episode].frames[np.array([row - first[episode]])][0])
    return pictures
