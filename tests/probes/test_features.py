from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.features import extract, extract_rows, raw_pixels, raw_reader, token_reader
from jepa.types import Grid


@dataclass
class Clips:
    clip: Tensor
    labels: Tensor
    names: tuple[str, ...]


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
        clip = torch.randn(size, 3, 8, 16, 16, generator=generator)
        yield Clips(
            clip, torch.arange(start, start + size), tuple(f"v{i}.mp4" for i in range(start, start + size))
        )
        start += size


def test_keeps_order_labels_and_names_over_batches_even_empty_ones(generator):
    given = list(batches(generator, 3, 0, 2))
    found = extract(Patches(), given)["mean"]
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.groups == ("v0.mp4", "v1.mp4", "v2.mp4", "v3.mp4", "v4.mp4")
    whole = torch.cat([one.clip for one in given])
    torch.testing.assert_close(found.values, whole.mean((2, 3, 4)))
    assert found.values.dtype == torch.float32


def test_every_pooling_comes_from_one_forward_pass(generator):
    encoder = Patches()
    found = extract(encoder, batches(generator, 2, 2), poolings=("mean", "time"))
    assert encoder.calls == 2
    assert found["mean"].values.shape == (4, 3)
    assert found["time"].values.shape == (4, 4 * 3)
    torch.testing.assert_close(found["time"].values.view(4, 4, 3).mean(1), found["mean"].values)


def test_time_pooling_keeps_the_steps_apart(generator):
    (one,) = batches(generator, 1)
    one.clip[:, :, 6:] = 9  # the last of four tubelets
    steps = extract(Patches(), [one], poolings=("time",))["time"].values.view(4, 3)
    torch.testing.assert_close(steps[3], torch.full((3,), 9.0))
    assert steps[:3].abs().max() < 1


def test_rows_see_the_same_clips(generator):
    rows = extract_rows({"a": token_reader(Patches()), "raw": raw_reader}, batches(generator, 2, 3))
    assert rows["a"]["mean"].labels.tolist() == rows["raw"]["raw"].labels.tolist()
    assert len(rows["raw"]["raw"].values) == 5


def test_stretches_of_one_file_are_one_group(generator):
    (one,) = batches(generator, 3)
    one.names = ("drive.mp4[0:2.5]", "drive.mp4[2.5:]", "other[1].mp4")
    assert extract(Patches(), [one])["mean"].groups == ("drive.mp4", "drive.mp4", "other[1].mp4")


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
