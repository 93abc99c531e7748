"""From decoded frames to a normalised clip: what training, probes and users do alike before the encoder."""

import torch
import torch.nn.functional as F
from torch import Tensor

RGB = tuple[float, float, float]
MEAN: RGB = (0.485, 0.456, 0.406)  # of ImageNet's red, green, and blue, in [0, 1]
STD: RGB = (0.229, 0.224, 0.225)

Resolution = int | tuple[int, int]
"""Pixels of a clip: one number for a square, or (height, width)."""


def height_width(resolution: Resolution) -> tuple[int, int]:
    """Return ``resolution`` as (height, width)."""
    return (resolution, resolution) if isinstance(resolution, int) else resolution


def preprocess(
    frames: Tensor,
    resolution: Resolution,
    *,
    mean: RGB = MEAN,
    std: RGB = STD,
    resize_to: int | None = None,
) -> Tensor:
    """Cut out the largest centred part of the clip's aspect, resize it, normalise; nothing in it is random.

    (T, H, W, 3) uint8 -> (C, T, *resolution) float. With ``resize_to``, the order is another, see `centre_of_resized`.
    Raises ValueError when the frames are not uint8 RGB.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}")
    if resize_to is None:
        return normalise(centre_pixels(frames, resolution), mean=mean, std=std)
    return normalise(centre_of_resized(frames, resolution, resize_to), mean=mean, std=std)


def centre_pixels(frames: Tensor, resolution: Resolution, *, place: float = 0.5) -> Tensor:
    """Do what `preprocess` does, short of normalising: (T, H, W, 3) uint8 -> (T, C, *resolution) uint8.

    ``place`` moves the part along the frame's longer side: 0 is the left or upper end, 1 the other one.
    """
    height, width = frames.shape[1:3]
    out_height, out_width = height_width(resolution)
    scale = min(height / out_height, width / out_width)
    crop_height, crop_width = round(out_height * scale), round(out_width * scale)
    top, left = int((height - crop_height) * place), int((width - crop_width) * place)
    part = frames[:, top : top + crop_height, left : left + crop_width].permute(0, 3, 1, 2)  # (T, C, h, w)
    return resize(part, out_height, out_width)


def centre_of_resized(frames: Tensor, resolution: Resolution, resize_to: int) -> Tensor:
    """Resize frames until their shorter side has ``resize_to`` pixels, then cut out the centre.

    (T, H, W, 3) uint8 -> (T, C, *resolution) uint8, the same bytes as transformers' VJEPA2VideoProcessor makes. The
    evaluations of V-JEPA 2 resize and cut to the same sizes, without antialiasing. Of an odd margin, the larger part
    lies at the lower and right end. Raises ValueError when ``resolution`` does not fit into the resized frames.
    """
    height, width = frames.shape[1:3]
    shorter = min(height, width)
    pixels = frames.permute(0, 3, 1, 2)  # (T, C, H, W)
    pixels = resize(pixels, resize_to * height // shorter, resize_to * width // shorter)
    out_height, out_width = height_width(resolution)
    top, left = (
        (have - want) // 2 for have, want in zip(pixels.shape[2:], (out_height, out_width), strict=True)
    )
    if min(top, left) < 0:
        raise ValueError(
            f"{out_height} x {out_width} pixels cannot be cut out of {pixels.shape[2]} x {pixels.shape[3]}; "
            "resize_to must be larger"
        )
    return pixels[:, :, top : top + out_height, left : left + out_width]


def resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Resize (T, C, H, W) uint8, antialiased; on bytes, which is several times faster than on floats."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)


def normalise(pixels: Tensor, *, mean: RGB = MEAN, std: RGB = STD, out: Tensor | None = None) -> Tensor:
    """Subtract the mean, divide by the deviation: (..., T, C, H, W) uint8 -> (..., C, T, H, W) float32.

    The result is written into ``out`` where it is given.
    """
    clip = pixels.transpose(-4, -3)  # (..., C, T, H, W)
    if out is None:
        clip = clip.to(torch.float32, memory_format=torch.contiguous_format)
    else:
        clip = out.copy_(clip)
    scale = _column(std)
    return clip.mul_((1 / (255 * scale)).to(clip.device)).sub_((_column(mean) / scale).to(clip.device))


def denormalise(clip: Tensor, *, mean: RGB = MEAN, std: RGB = STD) -> Tensor:
    """Return frames to look at: (..., C, T, H, W) float -> (..., T, H, W, C) uint8."""
    pixels = ((clip * _column(std) + _column(mean)) * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels.movedim(-4, -1)


def _column(values: RGB) -> Tensor:
    """Return one value per channel, to be broadcast over (C, T, H, W)."""
    return torch.tensor(values)[:, None, None, None]
