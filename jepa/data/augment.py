"""Turn decoded frames into clips: at random for training, fixed for measuring, all frames alike."""

import math

import torch
from torch import Tensor

from jepa.config.data import AugmentConfig
from jepa.preprocess import Resolution, height_width, normalise, resize

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green, and blue look


def augment(
    frames: Tensor, config: AugmentConfig, *, resolution: Resolution, generator: torch.Generator
) -> Tensor:
    """Crop, flip, colour, normalise: (T, H, W, 3) uint8 -> (C, T, *resolution) float."""
    return normalise(augment_pixels(frames, config, resolution=resolution, generator=generator))


def augment_pixels(
    frames: Tensor, config: AugmentConfig, *, resolution: Resolution, generator: torch.Generator
) -> Tensor:
    """Do what `augment` does, short of normalising: (T, H, W, 3) uint8 -> (T, C, *resolution) uint8."""
    drawn = Augmentation(config, resolution=resolution, generator=generator)
    return drawn.recolour(drawn.cut(frames))


class Augmentation:
    """What was drawn for one clip: to be done to all frames at once, or to one after the other as they are decoded.

    Always draws eight numbers, so that one setting does not move the randomness of another.
    """

    def __init__(self, config: AugmentConfig, *, resolution: Resolution, generator: torch.Generator) -> None:
        self._config, self._size = config, height_width(resolution)
        self._draws = torch.rand(8, generator=generator).tolist()

    def cut(self, frames: Tensor) -> Tensor:
        """Crop, resize and flip any number of the clip's frames: (T, H, W, 3) uint8 -> (T, C, *resolution) uint8."""
        height, width = self._size
        top, left, crop_height, crop_width = _crop_box(
            frames.shape[1], frames.shape[2], self._config, self._draws[:4], shape=width / height
        )
        crop = frames[:, top : top + crop_height, left : left + crop_width].permute(
            0, 3, 1, 2
        )  # (T, C, h, w)
        pixels = resize(crop, height, width)
        return pixels.flip(-1) if self._draws[4] < self._config.flip else pixels

    def recolour(self, clip: Tensor) -> Tensor:
        """Change the colours of the whole clip, which its contrast is a matter of: (T, C, H, W) uint8 -> the same."""
        spread = self._config.color
        return _recolour(clip, [1 + spread * (2 * draw - 1) for draw in self._draws[5:]]) if spread else clip


def shrink(frames: Tensor, short_side: int | None) -> Tensor:
    """Scale (T, H, W, 3) uint8 down to ``short_side`` pixels; leave what is smaller; None leaves all."""
    height, width = frames.shape[1:3]
    if short_side is None or min(height, width) <= short_side:
        return frames
    scale = short_side / min(height, width)
    pixels = resize(frames.permute(0, 3, 1, 2), round(height * scale), round(width * scale))
    return pixels.permute(0, 2, 3, 1).contiguous()  # (T, h, w, 3)


def _crop_box(
    height: int, width: int, config: AugmentConfig, draws: list[float], *, shape: float
) -> tuple[int, int, int, int]:
    """Return top, left, height, and width of a crop; ``shape`` is the clip's own width over height.

    Its area is uniform in ``config.scale``, the logarithm of its aspect uniform in the part of
    ``config.aspect`` that fits the frame at this area; where none fits, the crop is the largest of the
    nearest aspect.
    """
    low, high = config.scale
    area = (low + (high - low) * draws[0]) * height * width
    least, most = (bound * shape for bound in config.aspect)
    narrowest = max(least, area / height**2)
    widest = min(most, width**2 / area)
    if narrowest <= widest:
        aspect = math.exp(math.log(narrowest) + draws[1] * (math.log(widest) - math.log(narrowest)))
    else:
        aspect = min(max(area / height**2, least), most)
        area = min(area, aspect * height**2, width**2 / aspect)
    crop_height = min(height, max(1, round(math.sqrt(area / aspect))))
    crop_width = min(width, max(1, round(math.sqrt(area * aspect))))
    top = int(draws[2] * (height - crop_height + 1))
    left = int(draws[3] * (width - crop_width + 1))
    return top, left, crop_height, crop_width


def _recolour(pixels: Tensor, factors: list[float]) -> Tensor:
    """Scale brightness, contrast, and saturation of (T, C, H, W) uint8, all frames alike."""
    brightness, contrast, saturation = factors
    luma = torch.tensor(LUMA)[:, None, None]
    image = pixels.float() * brightness
    middle = (image * luma).sum(1).mean()  # of the whole clip: a mean per frame would make the frames differ
    image = middle + (image - middle) * contrast
    grey = (image * luma).sum(1, keepdim=True)  # (T, 1, H, W)
    return (grey + (image - grey) * saturation).round_().clamp_(0, 255).to(torch.uint8)
