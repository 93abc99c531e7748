"""From decoded frames to a normalised clip: what probes, planners and users do alike before the encoder."""

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalise(frames: Tensor) -> Tensor:
    """Scale (..., 3) values in [0, 255] to ImageNet mean 0 and sd 1."""
    mean, std = (torch.tensor(values, device=frames.device) * 255 for values in (MEAN, STD))
    return (frames.float() - mean) / std


def preprocess(frames: Tensor, resolution: int) -> Tensor:
    """Resize the short side to ``resolution``, crop the centre and normalise: uint8 (T, H, W, 3) -> (3, T, R, R).

    Raises ValueError when the frames are not uint8 RGB.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}")
    height, width = frames.shape[1:3]
    scale = resolution / min(height, width)
    size = max(resolution, round(height * scale)), max(resolution, round(width * scale))
    images = normalise(frames).permute(0, 3, 1, 2)  # (T, 3, H, W)
    if size != (height, width):
        images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    top, left = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    return images[..., top : top + resolution, left : left + resolution].transpose(0, 1).contiguous()
