"""Videos whose frames say their own number, written on the spot."""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from jepa.types import Masks

STEP = 4  # grey levels between neighbouring frames: enough to survive every codec


class WriteVideo(Protocol):
    """Writes frames of one grey level each: frame i is 8 + 4 i."""

    def __call__(
        self,
        path: Path,
        *,
        frames: int = 24,
        fps: int = 8,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        pix_fmt: str = "yuv420p",
        ticks: Sequence[int] | None = None,
        rotation: int = 0,
        size: tuple[int, int] = (32, 48),
    ) -> Path: ...


def grey(index: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.full((*size, 3), 8 + STEP * index, np.uint8)


@pytest.fixture(scope="session")
def write_video() -> WriteVideo:
    def write(
        path: Path,
        *,
        frames: int = 24,
        fps: int = 8,
        codec: str = "libx264",
        options: dict[str, str] | None = None,
        pix_fmt: str = "yuv420p",
        ticks: Sequence[int] | None = None,
        rotation: int = 0,
        size: tuple[int, int] = (32, 48),
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps)
            stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
            stream.options = {"threads": "1", **(options or {"g": "8"})}
            if rotation:
                stream.set_display_rotation(rotation)
            if ticks is not None:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(grey(index, size), format="rgb24")
                if ticks is not None:
                    frame.pts, frame.time_base = ticks[index], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def numbers() -> Callable[[Tensor], list[int]]:
    """Reads the numbers of frames (..., H, W, 3) uint8 back from their grey."""

    def read(frames: Tensor) -> list[int]:
        return [round((level - 7) / STEP) for level in frames.float().mean((-3, -2, -1)).flatten().tolist()]

    return read


@pytest.fixture(scope="session")
def write_audio() -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that lies beside a development checkout; tests that want it skip where it is absent."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("JEPA_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip("set JEPA_TEST_DATA to a folder of real data to run this")
    return folder


def draw_masks(modality: str, batch: int, generator: torch.Generator) -> tuple[Masks, ...]:
    """Stands in for the mask room: four of eight tokens, drawn from the generator it is given."""
    order = torch.rand(batch, 8, generator=generator).argsort(1)
    return (Masks(order[:, :4], order[:, 4:]),)


@pytest.fixture(scope="session")
def sample_masks() -> Callable[[str, int, torch.Generator], tuple[Masks, ...]]:
    return draw_masks
