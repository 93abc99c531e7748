"""All frames of a clip alike, all clips different, nothing but the generator decides."""

import math

import pytest
import torch

from jepa.config.data import AugmentConfig
from jepa.data.augment import Augmentation, _crop_box, augment, augment_pixels, shrink

STRONG = AugmentConfig(scale=(0.3, 1.0), aspect=(0.5, 2.0), flip=0.5, color=0.4)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(5))
def test_all_frames_of_a_clip_are_treated_alike(seed):
    still = noise(1, 40, 52, 3).expand(6, -1, -1, -1)
    clip = augment(still, STRONG, resolution=24, generator=drawn(seed))
    assert clip.shape == (3, 6, 24, 24)
    assert torch.equal(clip, clip[:, :1].expand_as(clip))


def test_frames_are_independent_of_each_other_but_for_contrast():
    frames = noise(4, 40, 40, 3)
    plain = AugmentConfig(scale=(0.3, 0.8), flip=0.5)
    together = augment(frames, plain, resolution=24, generator=drawn(3))
    alone = augment(frames[2:3], plain, resolution=24, generator=drawn(3))
    assert torch.equal(together[:, 2:3], alone)


def test_clips_differ_between_generators():
    frames = noise(2, 40, 40, 3)
    clips = [augment(frames, STRONG, resolution=24, generator=drawn(seed)) for seed in (1, 1, 2)]
    assert torch.equal(clips[0], clips[1]) and not torch.equal(clips[0], clips[2])


def test_flip_is_a_mirror():
    frames = noise(2, 16, 16, 3)
    whole = {"scale": (1.0, 1.0), "aspect": (1.0, 1.0)}
    kept, mirrored = (
        augment_pixels(frames, AugmentConfig(flip=flip, **whole), resolution=16, generator=drawn(0))
        for flip in (0.0, 1.0)
    )
    assert torch.equal(kept, frames.permute(0, 3, 1, 2))
    assert torch.equal(mirrored, kept.flip(-1))


def test_contrast_does_not_flicker():
    frames = torch.full((2, 16, 16, 3), 100, dtype=torch.uint8)
    frames[1, 4:] = 250  # the second frame is brighter, but for a strip that stays as it was
    config = AugmentConfig(scale=(1.0, 1.0), aspect=(1.0, 1.0), flip=0, color=0.5)
    pixels = augment_pixels(frames, config, resolution=16, generator=drawn(0))
    assert torch.equal(pixels[0, :, :4], pixels[1, :, :4])


def test_colour_leaves_the_place_alone():
    frames = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    frames[:, :, 8:] = 100
    config = AugmentConfig(scale=(1.0, 1.0), aspect=(1.0, 1.0), flip=0, color=0.5)
    pixels = augment_pixels(frames, config, resolution=16, generator=drawn(0))
    assert (pixels[..., :8] == pixels[0, :, :1, :1]).all()
    assert (pixels[..., 8:] == pixels[0, :, :1, -1:]).all()
    assert not torch.equal(pixels[0, :, 0, -1], frames[0, 0, -1])


def test_crops_have_the_area_and_aspect_asked_for():
    config = AugmentConfig(scale=(0.3, 0.5), aspect=(0.75, 1.35))
    for draws in torch.rand(200, 4, generator=drawn(0)).tolist():
        top, left, height, width = _crop_box(200, 300, config, draws, shape=1)
        assert 0 <= top <= 200 - height and 0 <= left <= 300 - width
        assert 0.29 < height * width / 60000 < 0.51
        assert 0.74 < width / height < 1.37


def test_crops_use_the_whole_range_of_aspects():
    config = AugmentConfig(scale=(0.3, 0.3), aspect=(0.5, 2.0))
    boxes = [
        _crop_box(200, 200, config, draws, shape=1)
        for draws in torch.rand(300, 4, generator=drawn(0)).tolist()
    ]
    aspects = sorted(width / height for _, _, height, width in boxes)
    assert aspects[0] < 0.55 and 0.85 < aspects[150] < 1.18 and aspects[-1] > 1.85


@pytest.mark.parametrize("size", [(20, 200), (200, 20), (3, 3)])
def test_crops_fit_any_frame(size):
    for draws in torch.rand(100, 4, generator=drawn(0)).tolist():
        top, left, height, width = _crop_box(*size, AugmentConfig(), draws, shape=1)
        assert height >= 1 and width >= 1
        assert top + height <= size[0] and left + width <= size[1]


def test_crops_reach_all_corners():
    boxes = [
        _crop_box(100, 100, AugmentConfig(scale=(0.25, 0.25), aspect=(1, 1)), d, shape=1)
        for d in torch.rand(400, 4).tolist()
    ]
    assert min(box[0] for box in boxes) <= 2 and max(box[0] for box in boxes) >= 48
    assert min(box[1] for box in boxes) <= 2 and max(box[1] for box in boxes) >= 48


def test_crops_of_an_oblong_clip_have_its_aspect():
    config = AugmentConfig(scale=(0.2, 0.4), aspect=(1.0, 1.0))
    for draws in torch.rand(50, 4, generator=drawn(0)).tolist():
        _, _, height, width = _crop_box(200, 300, config, draws, shape=1.5)
        assert 1.45 < width / height < 1.55
    assert augment(noise(2, 40, 60, 3), config, resolution=(16, 24), generator=drawn(0)).shape == (
        3,
        2,
        16,
        24,
    )


def test_shrink():
    frames = noise(2, 60, 80, 3)
    assert shrink(frames, 30).shape == (2, 30, 40, 3)
    assert shrink(frames, 90) is frames
    assert shrink(frames, None) is frames


def test_settings_do_not_move_each_others_randomness():
    frames = noise(2, 40, 40, 3)
    loose = AugmentConfig(scale=(0.3, 0.8), flip=0, color=0)
    tinted = AugmentConfig(scale=(0.3, 0.8), flip=0, color=1e-9)
    first, second = (augment(frames, c, resolution=24, generator=drawn(1)) for c in (loose, tinted))
    assert (first - second).abs().max() < 0.03 and math.isfinite(first.sum())


@pytest.mark.parametrize("seed", range(6))
def test_frames_may_be_cut_one_by_one(seed):
    frames = noise(5, 60, 80, 3)
    one = Augmentation(STRONG, resolution=24, generator=drawn(seed))
    clip = one.recolour(torch.cat([one.cut(frame[None]) for frame in frames]))
    assert torch.equal(clip, augment_pixels(frames, STRONG, resolution=24, generator=drawn(seed)))
