"""Imagined futures to look at: no pixel is decoded, so each imagined frame is shown as the nearest real one."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from jepa.data.inspect import draw_sheet
from jepa.preprocess import centre_pixels
from jepa.programs.latents import encode_episodes
from jepa.runtime.seeding import generator
from jepa.types import Trajectory, Windows, WorldModel

MOST_FRAMES = 5000  # training frames that are looked through
MOST_NUMBERS = 2**28  # of their latents, a gigabyte: of frames with many tokens, fewer are looked through
COLUMNS = 9
LABEL_PX, HEAD_PX, GAP_PX, HEIGHT_PX = 64, 16, 16, 96


@torch.inference_mode()
def imagined_sheet(
    world_model: WorldModel, train: Sequence[Trajectory], windows: Windows, *, context: int
) -> Image.Image:
    """Draw two rows per window: what was seen, and what was imagined from the first ``context`` frames on.

    Both rows begin with the last frame of the context; a column names its model step from there. An imagined frame
    is shown as the frame of ``train`` whose latent is nearest, among at most `MOST_FRAMES`.
    """
    shown = np.unique(np.linspace(context, windows.frames.shape[1] - 1, COLUMNS - 1).round().astype(int))
    z = world_model.encode(windows.frames[:, :context].movedim(2, -1))
    future = world_model.rollout(
        z,
        windows.actions[:, context - 1 :].to(z.device),
        past_actions=windows.actions[:, : context - 1].to(z.device),
        proprio=None if windows.proprio is None else windows.proprio[:, :context].to(z.device),
    )  # (B, H, N, D)
    asked = future[:, torch.from_numpy(shown - context).to(z.device)].float().cpu()  # (B, columns, N, D)
    pictures = _nearest_frames(world_model, train, asked.flatten(2).flatten(0, 1), windows.frames.shape[-2:])
    pairs = []
    for number, frames in enumerate(windows.frames.movedim(2, -1)):  # (T, H, W, 3)
        start, first = frames[context - 1], number * len(shown)
        seen, imagined = [frames[step] for step in shown], pictures[first : first + len(shown)]
        pairs.append(([start, *seen], [start, *imagined]))
    return _labelled(pairs, [f"step {step - context + 1}" for step in shown])


def _labelled(pairs: Sequence[tuple[list[Tensor], list[Tensor]]], steps: Sequence[str]) -> Image.Image:
    """Draw (seen, imagined) rows of frames (H, W, 3), a gap between pairs, the steps' names over the columns."""
    drawn = [draw_sheet(pair, height_px=HEIGHT_PX) for pair in pairs]
    pitch, row_px = drawn[0].height + GAP_PX, drawn[0].height / 2
    size = (LABEL_PX + drawn[0].width, HEAD_PX + pitch * len(drawn) - GAP_PX)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    names = ["start", *steps]
    for column, name in enumerate(names):
        pen.text((LABEL_PX + column * drawn[0].width / len(names), 2), name, fill="black")
    for number, pair in enumerate(drawn):
        top = HEAD_PX + number * pitch
        sheet.paste(pair, (LABEL_PX, top))
        for row, name in enumerate(("seen", "imagined")):
            pen.text((2, top + (row + 0.45) * row_px), name, fill="black")
    return sheet


def _nearest_frames(
    world_model: WorldModel, train: Sequence[Trajectory], asked: Tensor, size: Sequence[int]
) -> list[Tensor]:
    """Return the training frames whose latents are nearest to ``asked``, (n, N * D): n frames (H, W, 3).

    They are cut and resized to ``size``, height and width, as frames are before they are encoded.
    """
    most = max(1, min(MOST_FRAMES, MOST_NUMBERS // asked.shape[1]))
    order = torch.randperm(len(train), generator=generator(0, "imagined")).tolist()
    chosen: list[Trajectory] = []
    while order and sum(len(episode.frames) for episode in chosen) < most:
        chosen.append(train[order.pop()])
    bank = torch.cat([z.flatten(1) for z in encode_episodes(world_model, chosen)])[:most]  # (frames, N * D)
    centre = bank.mean(0)  # else what all frames share would drown the differences in rounding
    bank -= centre
    # Squared distances, as errors are, less the squares of what is asked, which do not matter for the order.
    found = (bank.square().sum(1) - 2 * (asked - centre) @ bank.T).argmin(1)  # (n,)
    first = np.cumsum([0, *(len(episode.frames) for episode in chosen)])  # of each episode in the bank
    return [_frame_of(chosen, first, row, size) for row in found.tolist()]


def _frame_of(
    episodes: Sequence[Trajectory], first: NDArray[np.int64], row: int, size: Sequence[int]
) -> Tensor:
    """Return the frame that stands in ``row`` of all frames end to end: (H, W, 3) of ``size``."""
    episode = int(np.searchsorted(first, row, side="right")) - 1
    frame = torch.as_tensor(episodes[episode].frames[np.array([row - first[episode]])])  # (1, H', W', 3)
    return centre_pixels(frame, (size[0], size[1]))[0].movedim(0, -1)
