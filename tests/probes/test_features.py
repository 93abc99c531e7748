from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.features import TOKENS, extract_rows, raw_pixels, raw_reader, raw_tokens, token_reader
from jepa.types import Grid


@dataclass
class Clips:
    clip: Tensor
    entries: Tensor


class Patches:
    """An encoder whose tokens are the mean colours of 4 x 4 patches; it counts its calls."""

    calls = 0

    def __call__(self, clip: Tensor) -> Tensor:
        self.calls += 1
        return torch.nn.functional.avg_pool3d(clip, (2, 4, 4)).flatten(2).transpose(1, 2)

    def grid(self, shape: torch.Size) -> Grid:
        return Grid(shape[2] // 2, shape[3] // 4, shape[4] // 4)


def batches(generator, *sizes):
    start = 0
    for size in sizes:
        yield Clips(torch.randn(size, 3, 8, 16, 16, generator=generator), torch.arange(start, start + size))
        start += size


def extract(encoder, given, **settings):
    return extract_rows({"": token_reader(encoder, **settings)}, given)[""]


def test_keeps_the_order_of_entries_over_batches_even_empty_ones(generator):
    given = list(batches(generator, 3, 0, 2))
    found = extract(Patches(), given)["mean"]
    assert found.entries.tolist() == [0, 1, 2, 3, 4]
    whole = torch.cat([one.clip for one in given])
    torch.testing.assert_close(found.values, whole.mean((2, 3, 4)))
    assert found.values.dtype == torch.float32


def test_every_pooling_comes_from_one_forward_pass(generator):
    encoder = Patches()
    found = extract(encoder, batches(generator, 2, 2), tokens=True)
    assert encoder.calls == 2
    assert found["mean"].values.shape == (4, 3)
    assert found["time"].values.shape == (4, 4 * 3)
    assert found[TOKENS].values.shape == (4, 4 * 16, 3)
    torch.testing.assert_close(found["time"].values.view(4, 4, 3).mean(1), found["mean"].values)


def test_time_pooling_keeps_the_steps_apart(generator):
    (one,) = batches(generator, 1)
    one.clip[:, :, 6:] = 9  # the last of four tubelets
    steps = extract(Patches(), [one], poolings=("time",))["time"].values.view(4, 3)
    torch.testing.assert_close(steps[3], torch.full((3,), 9.0))
    assert steps[:3].abs().max() < 1


def test_rows_see_the_same_clips(generator):
    rows = extract_rows({"a": token_reader(Patches()), "raw": raw_reader()}, batches(generator, 2, 3))
    assert rows["a"]["mean"].entries.tolist() == rows["raw"]["raw"].entries.tolist()
    assert len(rows["raw"]["raw"].values) == 5


def test_the_precision_is_what_is_asked_for(generator):
    seen = []

    class Linear(Patches):
        def __call__(self, clip: Tensor) -> Tensor:
            tokens = super().__call__(clip)
            seen.append((tokens @ torch.eye(3)).dtype)
            return tokens

    for dtype in ("float32", "bfloat16"):
        found = extract(Linear(), batches(generator, 2), dtype=dtype)
        assert found["mean"].values.dtype == torch.float32
    assert seen == [torch.float32, torch.bfloat16]


def test_features_carry_no_gradient(generator):
    weight = torch.ones(1, requires_grad=True)

    class Learning(Patches):
        def __call__(self, clip: Tensor) -> Tensor:
            return weight * super().__call__(clip)

    assert not extract(Learning(), batches(generator, 2))["mean"].values.requires_grad


def test_refuses_a_source_without_clips(generator):
    with pytest.raises(DataError, match="gave no clip"):
        extract(Patches(), batches(generator, 0))


def test_raw_pixels_are_small_grey_frames_and_their_differences():
    clip = torch.zeros(1, 3, 4, 32, 64)
    clip[:, :, 2, :, :32] = 3.0  # the left half flashes in the third frame
    raw = raw_pixels(clip)
    assert raw.shape == (1, 7 * 16 * 32)
    maps = raw.view(7, 16, 32)
    assert maps[2, :, :16].unique().tolist() == [3] and maps[2, :, 16:].unique().tolist() == [0]
    assert [float(m.sum().sign()) for m in maps] == [0, 0, 1, 0, 0, 1, -1]


def test_raw_pixels_do_not_enlarge_and_take_images():
    assert raw_pixels(torch.ones(2, 3, 1, 8, 8)).shape == (2, 64)


def test_raw_tokens_hold_the_raw_pixels_and_their_order():
    clip = torch.randn(2, 3, 4, 32, 64)
    tokens, raw = raw_tokens(clip), raw_pixels(clip, side_px=8).view(2, 7, 128)
    assert tokens.shape == (2, 4, 272)  # 2 * 128 + 4, and up to the next multiple of 16
    torch.testing.assert_close(tokens[..., :128], raw[:, :4])
    torch.testing.assert_close(tokens[:, 1:, 128:256], raw[:, 4:])
    assert tokens[..., 256:].argmax(2).tolist() == [[0, 1, 2, 3]] * 2
    assert raw_tokens(clip[:, :, :1]).shape == (2, 1, 272)
