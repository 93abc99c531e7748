"""Checkpoints of V-JEPA 2-AC: an encoder, and a predictor that is told actions and poses (arXiv:2506.09985)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from jepa.config.architecture import Architecture
from jepa.config.data import ReadConfig
from jepa.config.world_model import (
    FrozenFrames,
    TokenDynamics,
    WorldModelArchitecture,
)
from jepa.errors import CheckpointError
from jepa.models.build import frozen_networks
from jepa.models.dynamics import Dynamics, build_dynamics
from jepa.models.formats.base import Format, Source
from jepa.models.formats.exact import Names
from jepa.models.formats.released import (
    ENCODER,
    ONE_LEVEL,
    PREFIX,
    assemble,
    encoder_of,
    expressible,
    fill,
    parts_of,
    released_model,
    shape_of,
    without_table,
    write_released,
)
from jepa.models.frames import FrozenFrameEncoder
from jepa.models.frozen import Frozen, Weights
from jepa.models.poses import SIZE
from jepa.models.scaling import Scaling
from jepa.models.world_model import LatentWorldModel
from jepa.models.zoo import load_frozen
from jepa.types import Grid

RESOLUTION = 256
HEADS = 16
HISTORY = 8
"""Pixels, heads of the predictor and frames of training, which no tensor tells.

From facebookresearch/vjepa2, configs/train/vitg16/droid-256px-8f.yaml and src/hub/backbones.py. As released, a frame
may attend to 31 before it, but the weights have only seen 8 together.
"""

PREDICTOR = Names(
    [
        ("predictor_embed.", "embedding.patches."),
        ("action_encoder.", "embedding.action."),
        ("state_encoder.", "embedding.state."),
        ("predictor_blocks.", "blocks."),
        ("predictor_norm.", "norm."),
        ("predictor_proj.", "head."),
    ]
)
UNUSED = "extrinsics_encoder."
"""Of the camera's pose: in the released file, but the predictor was trained without it (use_extrinsics: false)."""


class VJepa2Ac(Format):
    """What `torch.hub.load("facebookresearch/vjepa2", "vjepa2_ac_vit_giant")` downloads, and what its training writes.

    As a world model it takes four frames per second, the arm's pose in its base's frame as proprioception, and as
    actions the changes of this pose (`jepa.models.poses`), all in metres and radians, unscaled.
    """

    name = "vjepa2-ac"
    title = "a checkpoint of V-JEPA 2-AC"

    def recognises(self, source: Source) -> bool:
        """Whether its predictor is told actions."""
        predictor = source.state.get("predictor") if source.path.is_file() else None
        return isinstance(predictor, dict) and any(
            PREFIX.sub("", str(name)) == "action_encoder.weight" for name in predictor
        )

    def holds_world_model(self, source: Source) -> bool:
        """Whether it does: always, beside its encoder."""
        return True

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the encoder alone: this predictor fills in nothing that is hidden."""
        text = source.text
        encoder = encoder_of(parts_of(source), weights, text)
        architecture = Architecture(model=released_model(encoder, text), resolution=RESOLUTION)
        networks = assemble(architecture, ENCODER.ours(without_table(encoder), text), None, text)
        read = ReadConfig(frames_per_clip=64, fps=4.0, resolution=RESOLUTION)
        return frozen_networks(architecture, networks, f"{self.name}:{text}", read=read)

    def load_world_model(self, source: Source) -> LatentWorldModel:
        """Load the world model: each frame alone, repeated to fill a tubelet, its tokens layer-normed."""
        predictor = parts_of(source).get("predictor")
        if predictor is None:
            raise CheckpointError(
                f"{source.text} holds no predictor, which imagines frames; use another file"
            )
        _check_told(predictor, source.text)
        parts = WorldModelArchitecture(
            frames=FrozenFrames(kind="frozen", source=f"{self.name}:{source.text}"),
            dynamics=dynamics_config(predictor, source.text),
            resolution=RESOLUTION,
        )
        assert isinstance(parts.frames, FrozenFrames)
        frames = FrozenFrameEncoder(parts.frames, RESOLUTION)
        model = LatentWorldModel(
            frames,
            released_dynamics(predictor, source.text, dim=frames.dim, grid=frames.grid),
            Scaling(action_size=SIZE, proprio_size=SIZE, frame_skip=1),
            resolution=RESOLUTION,
            next_state="pose",
        )
        model.architecture = parts
        return model

    def save_world_model(self, model: nn.Module, path: Path) -> None:
        """Write a world model of poses as the release is, which scales nothing.

        The scaling of actions and poses goes into the layers that read them. Raises CheckpointError, naming all that
        is otherwise, for a world model that is not of this kind.
        """
        assert isinstance(model, LatentWorldModel)
        wanted = {
            "frames": FrozenFrames(kind="frozen", source=""),
            "dynamics.kind": "tokens",
            "dynamics.rotary_layout": "released",
            "dynamics.next_state": "pose",
            "dynamics.heads": HEADS,
            "dynamics.history": HISTORY,
            "resolution": RESOLUTION,
            "frame_skip": 1,
            "a learned distance in time": None,
        }
        found = _facts(model)
        if other := [f"{name} is {found[name]}" for name, value in wanted.items() if found[name] != value]:
            raise CheckpointError(f"{self.title} cannot hold this world model: {'; '.join(other)}")
        assert isinstance(model.frames, FrozenFrameEncoder)
        frozen = load_frozen(model.frames.source, device="cpu")
        rotary = {"positions": "rotary", "rotary_layout": "released", "position_grid": None, "image": False}
        whole = frozen.architecture
        alone = None if whole is None else whole.model_copy(update={"predictor": None})
        expressible(replace(frozen, architecture=alone), self.title, ONE_LEVEL | rotary)
        encoder = ENCODER.theirs(model.frames.encoder.state_dict(), frozen.source)
        write_released(path, encoder, _their_predictor(model), prefix="module.")


def dynamics_config(state: Mapping[str, Tensor], source: str) -> TokenDynamics:
    """Tell what a released predictor is from its weights. Raises CheckpointError where it is none."""
    width = state["action_encoder.weight"].shape[0]
    shape = shape_of(state, source, heads={width: HEADS}, blocks="predictor_blocks.")
    return TokenDynamics(
        kind="tokens",
        depth=shape.depth,
        width=shape.width,
        heads=HEADS,
        history=HISTORY,
        next_state="pose",
        rotary_layout="released",
    )


def released_dynamics(state: Mapping[str, Tensor], source: str, *, dim: int, grid: Grid) -> Dynamics:
    """Build the dynamics of a released predictor, for frames of ``grid`` with ``dim`` numbers per token, and load it.

    ``state`` holds its weights by the published names. Raises CheckpointError where it is not exactly such a predictor.
    """
    with torch.device("meta"):
        dynamics = build_dynamics(
            dynamics_config(state, source),
            dim=dim,
            grid=grid,
            action_size=SIZE,
            proprio_size=SIZE,
            normalise=True,
        )
    used = {name: value for name, value in state.items() if not name.startswith(UNUSED)}
    fill(dynamics, PREDICTOR.ours(used, source), source)
    return dynamics


def _facts(model: LatentWorldModel) -> dict[str, object]:
    """Return what a world model is, as plain values by name."""
    parts = model.architecture
    if parts is None:
        raise CheckpointError("this world model does not say what it was built from, and cannot be written")
    dynamics = parts.dynamics
    names = ("kind", "rotary_layout", "next_state", "heads", "history")
    return {
        # Which weights of which source, the encoder itself tells.
        "frames": parts.frames.model_copy(update={"source": "", "weights": "target"})
        if isinstance(parts.frames, FrozenFrames)
        else parts.frames,
        **{f"dynamics.{name}": getattr(dynamics, name, None) for name in names},
        "resolution": parts.resolution,
        "frame_skip": parts.frame_skip,
        "a learned distance in time": None if model.value is None else "there",
    }


def _their_predictor(model: LatentWorldModel) -> dict[str, Tensor]:
    """Return the dynamics' weights by the published names, for actions and poses that nothing scales."""
    state = PREDICTOR.theirs(model.dynamics.state_dict(), "this world model")
    scaling = model.scaling
    reads = {
        "action_encoder": (scaling.action_mean, scaling.action_std),
        "state_encoder": (scaling.proprio_mean, scaling.proprio_std),
    }
    for name, (mean, std) in reads.items():
        weight = state[f"{name}.weight"] / std  # (W, 7)
        state |= {f"{name}.weight": weight, f"{name}.bias": state[f"{name}.bias"] - weight @ mean}
    width = len(state["action_encoder.bias"])
    # The published reader asks for them.
    unused = {"weight": torch.zeros(width, SIZE - 1), "bias": torch.zeros(width)}
    return state | {f"{UNUSED}{name}": value for name, value in unused.items()}


def _check_told(predictor: Mapping[str, Tensor], source: str) -> None:
    """Refuse a predictor that is not told actions and states of seven numbers."""
    for name in ("action_encoder.weight", "state_encoder.weight"):
        found = predictor.get(name)
        if found is None or found.ndim != 2 or found.shape[1] != SIZE:
            what = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise CheckpointError(
                f"{source}: {name} of the predictor is {what}, but V-JEPA 2-AC is told {SIZE} numbers of a pose; "
                "use another file, or name another format"
            )
        if found.shape[0] % HEADS:
            raise CheckpointError(
                f"{source}: the predictor is {found.shape[0]} wide, which is no multiple of its {HEADS} heads; "
                "use another file"
            )
