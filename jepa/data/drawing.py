"""How generated videos are drawn and written: outlines, surface patterns, mp4 files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SHAPES = ("disc", "square", "cross", "ring")
TEXTURES = ("stripes", "checks")


def outline(shape: str, u: Floats, v: Floats, *, radius: float) -> Floats:
    """Return how much of each pixel a shape covers, 0 to 1, with an edge one pixel soft.

    ``u`` and ``v`` are pixels from the centre of the shape, and broadcast; ``shape`` is one of `SHAPES`. No shape
    reaches farther than 1.1 times ``radius`` along either axis.
    """
    if shape == "square":
        inside = 0.85 * radius - np.maximum(np.abs(u), np.abs(v))
    elif shape == "cross":
        long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
        inside = np.minimum(1.1 * radius - long, 0.4 * radius - short)
    else:
        distance = np.sqrt(u * u + v * v)
        inside = (
            radius - distance
            if shape == "disc"
            else np.minimum(1.1 * radius - distance, distance - 0.5 * radius)
        )
    covered: Floats = np.clip(inside + 0.5, 0, 1)
    return covered


def pattern(texture: str, u: Floats, v: Floats, *, period: float) -> Floats:
    """Return the share of the bright colour in each pixel, 0 to 1; ``period`` is in pixels."""
    wave = np.sin(u * np.float32(2 * np.pi / period))
    if texture == "checks":
        wave = wave * np.sin(v * np.float32(2 * np.pi / period)) * 1.5
    bright: Floats = np.clip(0.5 + wave, 0, 1)
    return bright


def write_mp4(path: Path, frames: NDArray[np.uint8], *, fps: int) -> None:
    """Write (T, H, W, 3) RGB frames as H.264, nearly lossless but for the coarser colours of yuv420p."""
    import av  # only writing needs it

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # A key frame every 8 frames: decoding starts near any clip. One thread: small frames gain nothing.
        stream.options = {"crf": "14", "preset": "ultrafast", "g": "8", "threads": "1"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
