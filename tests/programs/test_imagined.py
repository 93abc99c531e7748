"""The sheet of imagined futures: the column of a step shows that step, of the row's own episode."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from jepa.programs import imagined
from jepa.programs.imagined import GAP_PX, HEAD_PX, HEIGHT_PX, LABEL_PX, imagined_sheet
from jepa.types import Trajectory, Windows

SIDE = 8
CELL = HEIGHT_PX + 2  # of the sheet, with its gap


class Grey:
    """A world whose frame is one grey, which each action adds to; its latent is the grey, far from zero."""

    frame_skip = 1

    def __init__(self, history: int = 1) -> None:
        self.history, self.encoded = history, 0

    def encode(self, frames):
        self.encoded += frames.shape[0] * frames.shape[1]
        return 1e4 + frames.float().mean((2, 3, 4))[..., None, None].expand(-1, -1, 2, 3)  # (B, T, 2, 3)

    def rollout(self, z, actions, *, past_actions=None, proprio=None):
        assert past_actions.shape[1] == z.shape[1] - 1
        return z[:, -1:] + actions.cumsum(1)[..., None]  # (B, H, 2, 3)


def grey(values: Sequence[int], side: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.repeat(np.array(values, np.uint8), side * width * 3).reshape(-1, side, width, 3)


def episode(values: Sequence[int], width: int = SIDE) -> Trajectory:
    return Trajectory("", grey(values, width=width), np.zeros((len(values) - 1, 1), np.float32))


def windows(*greys: Sequence[int], error: float = 0.0) -> Windows:
    frames = torch.stack([torch.from_numpy(grey(values)) for values in greys]).movedim(-1, 2)
    actions = torch.from_numpy(np.diff(np.array(greys))).float()[..., None] + error
    return Windows(frames, actions)


def cells(sheet, rows: int) -> np.ndarray:
    """The grey in the middle of each picture: (rows, columns)."""
    pixels = np.asarray(sheet)
    columns = (pixels.shape[1] - LABEL_PX + 2) // CELL
    middles = [HEAD_PX + (row // 2) * (2 * CELL - 2 + GAP_PX) + (row % 2) * CELL + 48 for row in range(rows)]
    return pixels[middles][:, [LABEL_PX + column * CELL + 48 for column in range(columns)], 0]


@pytest.mark.parametrize("context", [1, 3])
def test_an_imagined_frame_stands_below_the_one_it_stands_for(context):
    greys = [list(range(20, 80, 5)), list(range(200, 140, -5))]  # 12 frames each
    train = [episode(range(first, first + 32)) for first in range(0, 256, 32)]
    sheet = imagined_sheet(Grey(context), train, windows(*greys), context=context)
    shown = cells(sheet, 4)
    for number, values in enumerate(greys):
        assert shown[2 * number].tolist() == shown[2 * number + 1].tolist()
        places = [values.index(value) for value in shown[2 * number].tolist()]
        assert places[0] == context - 1 and places[-1] == 11 and places == sorted(set(places))


def test_what_the_model_gets_wrong_is_seen():
    train = [episode(range(0, 250))]
    sheet = imagined_sheet(Grey(), train, windows(range(50, 55), error=2.0), context=1)
    assert cells(sheet, 2).tolist() == [[50, 51, 52, 53, 54], [50, 53, 56, 59, 62]]


def test_episodes_lie_apart_and_rows_and_columns_have_names():
    train = [episode(range(0, 100))]
    one = imagined_sheet(Grey(), train, windows(range(5)), context=1)
    two = np.asarray(imagined_sheet(Grey(), train, windows(range(5), range(5)), context=1))
    assert two.shape[0] == one.height + GAP_PX + 2 * CELL - 2
    end = HEAD_PX + 2 * CELL - 2
    assert (two[end : end + GAP_PX] == 255).all()
    for row in range(4):
        top = HEAD_PX + (row // 2) * (2 * CELL - 2 + GAP_PX) + (row % 2) * CELL
        assert (two[top : top + 96, :LABEL_PX] < 128).any()
    for column in range(5):
        assert (two[:HEAD_PX, LABEL_PX + column * CELL :][:, :CELL] < 128).any()


def test_steps_are_counted_from_the_start(monkeypatch):
    names = []
    plain = imagined._labelled
    monkeypatch.setattr(
        imagined, "_labelled", lambda pairs, steps: names.extend(steps) or plain(pairs, steps)
    )
    imagined_sheet(Grey(2), [episode(range(9))], windows(range(6)), context=2)
    assert names == ["step 1", "step 2", "step 3", "step 4"]


def test_a_retrieved_frame_is_cut_as_the_window_is():
    """A training video that is wider than the model's square: columns must stay below each other."""
    wide = [episode(range(60), width=2 * SIDE)]
    sheet = imagined_sheet(Grey(), wide, windows(range(10, 14)), context=1)
    assert cells(sheet, 2)[0].tolist() == cells(sheet, 2)[1].tolist() == [10, 11, 12, 13]
    assert sheet.width == LABEL_PX + 4 * CELL - 2


def test_a_model_whose_frames_are_all_alike_still_gets_its_sheet():
    class Collapsed(Grey):
        def encode(self, frames):
            return super().encode(frames) * 0

    imagined_sheet(Collapsed(), [episode(range(9))], windows(range(4)), context=1)


def test_not_more_is_looked_through_than_fits(monkeypatch):
    train = [episode(range(10)) for _ in range(50)]
    for numbers, frames in ((6 * 25, 30), (6 * 10**6, 60)):
        monkeypatch.setattr(imagined, "MOST_NUMBERS", numbers)
        monkeypatch.setattr(imagined, "MOST_FRAMES", 55)
        model = Grey()
        imagined_sheet(model, train, windows(range(4)), context=1)
        assert model.encoded - 1 == frames  # whole episodes; the window's own frame is the other one
