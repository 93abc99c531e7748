"""From frames to clips."""

import pytest
import torch

from jepa.preprocess import centre_of_resized, denormalise, normalise, preprocess


def test_the_centre_of_the_clips_aspect_is_kept() -> None:
    frames = torch.zeros(2, 60, 100, 3, dtype=torch.uint8)
    frames[:, :, 20:80] = 200  # the centre square
    clip = denormalise(preprocess(frames, 30))
    assert clip.shape == (2, 30, 30, 3)
    assert (clip == 200).all()
    assert (
        denormalise(preprocess(frames, (30, 50)))[:, :, 0].max() == 0
    )  # the whole frame: its edges are there


def test_normalising_is_undone() -> None:
    pixels = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(denormalise(normalise(pixels)), pixels.permute(0, 2, 3, 1))


def test_only_uint8_rgb_frames_are_taken() -> None:
    with pytest.raises(ValueError, match=r"uint8 \(T, H, W, 3\), got torch.uint8 \(8, 3, 32, 32\)"):
        preprocess(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), 32)


def test_own_statistics_give_mean_zero_and_deviation_one() -> None:
    dark = torch.randint(20, 60, (64, 3, 16, 16), dtype=torch.uint8)
    values = dark.double().div(255).transpose(0, 1).flatten(1)
    mean, std = tuple(values.mean(1).tolist()), tuple(values.std(1).tolist())
    clip = normalise(dark, mean=mean, std=std)
    assert clip.mean(dim=(1, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(clip.std(dim=(1, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    assert torch.equal(denormalise(clip, mean=mean, std=std), dark.permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((60, 100), (36, 60)),
        ((100, 60), (60, 36)),
        ((36, 36), (36, 36)),
        ((20, 27), (36, 48)),
        ((33, 47), (36, 51)),
    ],
)
def test_whole_frames_are_resized_before_the_centre_is_cut(size, resized) -> None:
    """Written out with torch: shorter side to 36, longer one cut off to whole pixels, then rows and columns taken."""
    draws = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (2, *size, 3), dtype=torch.uint8, generator=draws)
    whole = frames.movedim(-1, 1).contiguous()
    if size != resized:
        whole = torch.nn.functional.interpolate(whole, resized, mode="bilinear", antialias=True)
    top, left = (resized[0] - 32) // 2, (resized[1] - 32) // 2
    wanted = whole[:, :, top:, left:][:, :, :32, :32]
    assert torch.equal(centre_of_resized(frames, 32, 36), wanted)
    assert torch.equal(preprocess(frames, 32, resize_to=36), normalise(wanted))


def test_an_oblong_centre_may_be_longer_than_the_resized_shorter_side() -> None:
    frames = torch.zeros(1, 50, 100, 3, dtype=torch.uint8)
    assert centre_of_resized(frames, (30, 60), 32).shape == (1, 3, 30, 60)


def test_a_centre_that_does_not_fit_is_refused() -> None:
    with pytest.raises(
        ValueError, match="32 x 32 pixels cannot be cut out of 30 x 60; resize_to must be larger"
    ):
        preprocess(torch.zeros(1, 50, 100, 3, dtype=torch.uint8), 32, resize_to=30)


def test_normalising_into_given_memory() -> None:
    pixels = torch.randint(256, (2, 4, 3, 8, 8), dtype=torch.uint8)
    out = torch.full((2, 3, 4, 8, 8), torch.nan)
    assert normalise(pixels, out=out) is out
    assert torch.equal(out, normalise(pixels))
