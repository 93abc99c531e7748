"""What is exported: encoders and world models as plain functions of tensors, with what a caller must know of them."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.export import Dim

import jepa
from jepa.errors import CheckpointError
from jepa.models.frames import FrameEncoder, FrozenFrameEncoder
from jepa.models.frozen import Frozen
from jepa.models.world_model import LatentWorldModel
from jepa.preprocess import height_width

FRAMES = 16  # of a clip, where the source does not say how many it was trained on (V-JEPA: 16)
TRACED = {"batch": 2, "time": 2}
CHECKED = {"batch": 1, "time": 3}  # other sizes, so that one that was baked in is found out
TOLERANCE = 1e-4

Module = TypeVar("Module", bound=nn.Module)

Run = Callable[[Mapping[str, Tensor]], Tensor]
"""Runs an exported function on tensors by name."""


@dataclass(frozen=True)
class Function:
    """A module in eval mode, in float32 on the CPU, that takes named tensors and returns one."""

    name: str
    """Its file's name, without the ending."""
    module: nn.Module
    shapes: Mapping[str, tuple[int | str, ...]]
    """Size of every axis of every input; a name stands for any size of at least 1."""
    about: Mapping[str, object]
    """What a caller must know, in plain values."""
    dtype: torch.dtype = torch.float32
    """Of the inputs."""

    def inputs(self, free: Mapping[str, int]) -> dict[str, Tensor]:
        """Draw inputs whose free axes have the sizes ``free``."""
        fresh = torch.Generator().manual_seed(0)
        drawn = {}
        for name, shape in self.shapes.items():
            sizes = [free[axis] if isinstance(axis, str) else axis for axis in shape]
            if self.dtype == torch.uint8:
                drawn[name] = torch.randint(256, sizes, generator=fresh, dtype=torch.uint8)
            else:
                drawn[name] = torch.randn(sizes, generator=fresh)
        return drawn

    def free_axes(self) -> dict[str, dict[int, Dim]]:
        """Return the free axes of every input, by their place, as `torch.export` wants them."""
        names = {axis for shape in self.shapes.values() for axis in shape if isinstance(axis, str)}
        sizes = {name: Dim(name, min=1) for name in sorted(names)}
        return {
            name: {place: sizes[axis] for place, axis in enumerate(shape) if isinstance(axis, str)}
            for name, shape in self.shapes.items()
        }

    def notes(self) -> dict[str, str]:
        """Return what a caller must know, each value as a string."""
        return {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in self.about.items()
        }


class EncodeFrames(nn.Module):
    """The frame encoder of a world model: (B, 3, H, W) uint8 of the model's resolution -> (B, N, D)."""

    def __init__(self, frames: FrameEncoder) -> None:
        super().__init__()
        self.frames = frames
        # A frozen encoder hides from state dicts; here its weights must be found.
        self.encoder = frames.encoder if isinstance(frames, FrozenFrameEncoder) else None

    def forward(self, frames: Tensor) -> Tensor:
        """Encode each frame alone."""
        return self.frames(frames.unsqueeze(1)).squeeze(1)


class PredictFrame(nn.Module):
    """One step of the dynamics: frames so far and the actions they meet -> the tokens of the next frame."""

    def __init__(self, model: LatentWorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Predict: (B, T, N, D), (B, T, A), (B, T, P) in the environment's units -> (B, N, D)."""
        return self.model.predict(z, actions, proprio)[:, -1]


def functions_of(frozen: Frozen) -> list[Function]:
    """Return the encoder as functions of clips, (B, 3, T, H, W) -> (B, N, D): ``video``, ``image`` or both.

    T, H and W are those of the training; one that was trained on images, or takes frames alone, has T = 1.
    """
    encoder, architecture = frozen.encoder, frozen.architecture
    height, width = height_width(encoder.resolution)
    frames = FRAMES
    if frozen.read is not None:
        frames = frozen.read.frames_per_clip
    elif architecture is not None and architecture.model.position_grid is not None:
        frames = architecture.model.position_grid[0] * encoder.tubelet
    frames = max(1, frames // encoder.tubelet) * encoder.tubelet
    video = encoder.tubelet > 1 if architecture is None else architecture.video
    image = encoder.tubelet == 1 if architecture is None else architecture.image
    module = _portable(encoder)
    return [
        Function(
            name,
            module,
            {"clip": ("batch", 3, length, height, width)},
            {
                "jepa": jepa.__version__,
                "source": frozen.source,
                "input": f"clip (batch, 3, {length}, {height}, {width}) float32: RGB, (pixel / 255 - mean) / std",
                "output": f"tokens (batch, {encoder.grid((1, 3, length, height, width)).tokens}, {encoder.dim})",
                "resolution": [height, width],
                "resize_to": encoder.resize_to,
                "mean": list(encoder.mean),
                "std": list(encoder.std),
            },
        )
        for name, length, wanted in (("video", frames, video), ("image", 1, image))
        if wanted
    ]


def functions_of_world_model(model: LatentWorldModel) -> list[Function]:
    """Return a world model as ``encode``, of one frame, and ``step``, one step of its dynamics.

    Scaling is inside: actions and proprioception are in the units of the environment.
    """
    height, width = height_width(model.resolution)
    tokens, dim = model.frames.tokens, model.frames.dim
    model = _portable(model)
    shapes: dict[str, tuple[int | str, ...]] = {
        "z": ("batch", "time", tokens, dim),
        "actions": ("batch", "time", model.action_size),
    }
    if model.proprio_size:
        shapes["proprio"] = ("batch", "time", model.proprio_size)
    known = {"jepa": jepa.__version__, "resolution": [height, width]}
    encode: dict[str, object] = {
        **known,
        "input": f"frames (batch, 3, {height}, {width}) uint8: RGB, cut and resized as in training",
        "output": f"z (batch, {tokens}, {dim})",
    }
    step: dict[str, object] = {
        **known,
        "input": f"{', '.join(f'{name} {_listed(shape)}' for name, shape in shapes.items())} float32: frames so far, "
        "oldest first, and the actions they meet, in the units of the environment",
        "output": f"z of the next frame (batch, {tokens}, {dim})",
        "history": model.history,
        "frame_skip": model.frame_skip,
        "next_proprio": model.next_state,
    }
    size: dict[str, tuple[int | str, ...]] = {"frames": ("batch", 3, height, width)}
    return [
        Function("encode", EncodeFrames(model.frames).eval(), size, encode, torch.uint8),
        Function("step", PredictFrame(model).eval(), shapes, step),
    ]


def export(
    functions: Sequence[Function], path: Path, suffix: str, write: Callable[[Function, Path], Run]
) -> None:
    """Write functions with ``write``: a single one to ``path`` if that ends in ``suffix``, else into a folder.

    Each is run as it was written, and compared with the module, before anything appears under ``path``.
    Raises CheckpointError where several are to go into one file, and where outputs differ by more than 1e-4.
    """
    single = path.suffix == suffix
    if single and len(functions) > 1:
        names = " and ".join(function.name + suffix for function in functions)
        raise CheckpointError(
            f"{path} is one file, and these are {len(functions)} functions; give a folder, for {names}"
        )
    folder = path.parent if single else path
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
        for function in functions:
            target = Path(scratch) / (path.name if single else function.name + suffix)
            with torch.no_grad():
                _compare(function, write(function, target), target.name)
        for part in sorted(Path(scratch).iterdir()):
            part.replace(folder / part.name)


def _compare(function: Function, run: Run, name: str) -> None:
    """Compare an exported function with its module, on inputs of another size than the traced ones."""
    inputs = function.inputs(CHECKED)
    wanted, found = function.module(**inputs), run(inputs)
    difference = (found - wanted).abs().max().item() if found.shape == wanted.shape else float("inf")
    if not difference <= TOLERANCE:  # a NaN is no agreement
        raise CheckpointError(
            f"{name} does not compute what the network does: outputs {tuple(found.shape)} and {tuple(wanted.shape)} "
            f"differ by {difference:.3g}, and {TOLERANCE:g} is allowed; nothing was written. Try another torch"
        )


def _portable(module: Module) -> Module:
    """Return the module in eval mode, in float32 on the CPU; itself where it is there already."""
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.device.type != "cpu" or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            return copy.deepcopy(module).cpu().float().eval()
    return module.eval()


def _listed(shape: tuple[int | str, ...]) -> str:
    """Return a shape as people write it."""
    return f"({', '.join(map(str, shape))})"
