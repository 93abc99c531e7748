"""A world model in a latent space: frames in, imagined frames out; built from a config, or loaded."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from jepa.config.world_model import TokenDynamics, ValueConfig, WorldModelArchitecture, WorldModelConfig
from jepa.errors import ConfigError, DataError
from jepa.models.dynamics import Dynamics, build_dynamics
from jepa.models.dynamics.base import Memory
from jepa.models.formats import find_format
from jepa.models.formats.exact import load_exactly
from jepa.models.frames import FrameEncoder, build_frames
from jepa.models.poses import SIZE, moved
from jepa.models.scaling import Scaling, Statistics
from jepa.models.temporal_distance import TemporalDistance
from jepa.preprocess import Resolution, centre_pixels
from jepa.runtime.device import resolve_device

NextState = Literal["given", "add", "pose"]


class LatentWorldModel(nn.Module):
    """Frame encoder and action-conditioned dynamics; satisfies `jepa.types.WorldModel`.

    Actions and proprioception are in the units of the environment, as it was trained on them.
    """

    def __init__(
        self,
        frames: FrameEncoder,
        dynamics: Dynamics,
        scaling: Scaling,
        *,
        resolution: Resolution,
        next_state: NextState = "given",
    ) -> None:
        """Put the parts together; ``next_state`` says what an imagined frame's proprioception is.

        given: what it was. add: each environment step's action is added to it. pose: it is a pose, and each
        environment step's action moves it, as `jepa.models.poses.moved` does (V-JEPA 2-AC).
        """
        super().__init__()
        self.frames, self.dynamics, self.scaling = frames, dynamics, scaling
        self.resolution, self.next_state = resolution, next_state
        self.value: nn.Module | None = None
        """(z, goal_z), each (..., N, D), -> steps between them, (...); where one was learned."""
        self.config: WorldModelConfig | None = None
        """The run that trained it; None where it was trained elsewhere."""
        self.architecture: WorldModelArchitecture | None = None
        """What it was built from, without which it cannot be stored."""
        self.frame_skip, self.history = scaling.frame_skip, dynamics.history
        self.action_size = self.frame_skip * len(scaling.action_mean)
        """Numbers of a model step's action, A."""
        self.proprio_size = len(scaling.proprio_mean)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Encode each frame alone: (B, T, H, W, 3) uint8 of any size -> (B, T, N, D).

        Cut and resized as the training data. Raises DataError for frames of another kind.
        """
        if frames.dtype != torch.uint8 or frames.ndim != 5 or frames.shape[-1] != 3:
            raise DataError(f"frames must be uint8 (B, T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}")
        # On the CPU: resizing bytes is not implemented on GPUs, and training data are resized there too.
        pixels = centre_pixels(frames.flatten(0, 1).cpu(), self.resolution)  # (B T, 3, H', W')
        pixels = pixels.reshape(*frames.shape[:2], *pixels.shape[1:])
        return self.frames(pixels.to(self.scaling.action_mean.device))

    def predict(self, z: Tensor, actions: Tensor, proprio: Tensor | None = None) -> Tensor:
        """Predict with teacher forcing: (B, T, N, D), (B, T, A), (B, T, P) -> (B, T, N, D).

        Output t is the prediction of frame t + 1. Raises DataError where the sizes do not match.
        """
        self._check(z, proprio)
        if actions.shape != (*z.shape[:2], self.action_size):
            raise DataError(
                f"actions must be {(*z.shape[:2], self.action_size)}, one per frame of z, got {tuple(actions.shape)}"
            )
        return self.dynamics(z, self.scaling.actions(actions), self.scaling.proprio(proprio))

    def rollout(
        self,
        z: Tensor,
        actions: Tensor,
        *,
        past_actions: Tensor | None = None,
        proprio: Tensor | None = None,
    ) -> Tensor:
        """Imagine: (B, T, N, D), (B, H, A) -> (B, H, N, D); (B, S, H, A) -> (B, S, H, N, D).

        ``past_actions``, (B, T - 1, A), lie between the T frames of context, which are computed once for all S
        candidates; ``proprio`` is (B, T, P). Keys and values are kept over the horizon, of as many candidates at a
        time as `tokens_at_once` allows. Gradients flow to ``actions``. Raises DataError where the sizes do not match.
        """
        self._check(z, proprio)
        self._check_actions(z, actions, past_actions)
        several = actions if actions.ndim == 4 else actions.unsqueeze(1)  # (B, S, H, A)
        past = actions.new_zeros(len(z), 0, self.action_size) if past_actions is None else past_actions
        seen = None if proprio is None else self.scaling.proprio(proprio[:, :-1])
        memory = self.dynamics.start(z[:, :-1], self.scaling.actions(past), seen)
        state = None if proprio is None else proprio[:, -1]
        at_once = max(1, tokens_at_once(z.device) // (len(z) * z.shape[2]))
        parts = [
            self._imagine(z[:, -1], part, memory, state) for part in torch.split(several, at_once, dim=1)
        ]
        z_future = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]  # (B, S, H, N, D)
        return z_future if actions.ndim == 4 else z_future.squeeze(1)

    def _imagine(self, z: Tensor, actions: Tensor, memory: Memory, proprio: Tensor | None) -> Tensor:
        """Imagine after the newest frame, (B, N, D) and (B, P), given the ``memory`` of those before it.

        (B, S, H, A) -> (B, S, H, N, D).
        """
        samples, horizon = actions.shape[1:3]
        frame = z.unsqueeze(1).expand(-1, samples, -1, -1)  # (B, S, N, D)
        state = None if proprio is None else proprio.unsqueeze(1).expand(-1, samples, -1)  # (B, S, P)
        scaled = self.scaling.actions(actions)
        memory = memory._replace(ahead=horizon)
        imagined = []
        for step in range(horizon):
            frame, memory = self.dynamics.step(frame, scaled[:, :, step], memory, self.scaling.proprio(state))
            imagined.append(frame)
            state = None if state is None else self.next_proprio(state, actions[:, :, step])
        return torch.stack(imagined, dim=2)  # (B, S, H, N, D)

    def next_proprio(self, proprio: Tensor, actions: Tensor) -> Tensor:
        """Return the proprioception after a model step: (..., P), (..., A) in environment units -> (..., P)."""
        if self.next_state == "given":
            return proprio
        steps = actions.reshape(*actions.shape[:-1], self.frame_skip, -1)  # (..., frame_skip, a)
        if self.next_state == "add":
            return proprio + steps.sum(-2)
        return reduce(moved, steps.unbind(-2), proprio)

    def _check(self, z: Tensor, proprio: Tensor | None) -> None:
        """Refuse frames and proprioception of another size than the model's."""
        tokens, dim = self.frames.tokens, self.frames.dim
        if z.ndim != 4 or z.shape[1] < 1 or z.shape[2:] != (tokens, dim):
            raise DataError(f"z must be (B, T, {tokens}, {dim}) with T of at least 1, got {tuple(z.shape)}")
        wanted = (*z.shape[:2], self.proprio_size) if self.proprio_size else None
        if (None if proprio is None else tuple(proprio.shape)) != wanted:
            found = "none" if proprio is None else str(tuple(proprio.shape))
            rule = (
                f"proprio must be {wanted}"
                if wanted
                else "this world model was trained without proprioception"
            )
            raise DataError(f"{rule}, got {found}")

    def _check_actions(self, z: Tensor, actions: Tensor, past_actions: Tensor | None) -> None:
        """Refuse actions of another size than the model's, and a horizon of 0."""
        size = self.action_size
        if actions.ndim not in (3, 4) or actions.shape[-1] != size or len(actions) != len(z):
            raise DataError(
                f"actions must be ({len(z)}, H, {size}) or ({len(z)}, S, H, {size}), got {tuple(actions.shape)}; a "
                f"model step takes {self.frame_skip} environment steps of {size // self.frame_skip} numbers each"
            )
        if 0 in actions.shape:
            raise DataError(
                f"actions must have a horizon and candidates of at least 1, got {tuple(actions.shape)}"
            )
        wanted = (len(z), z.shape[1] - 1, size)
        found = (len(z), 0, size) if past_actions is None else tuple(past_actions.shape)
        if found != wanted:
            raise DataError(
                f"past_actions must be {wanted}, between the {z.shape[1]} frames of z, got {found}"
            )


def tokens_at_once(device: torch.device) -> int:
    """Return how many tokens of imagined frames to compute together: larger matrix products are no faster.

    V-JEPA 2-AC keeps 25 MB of keys and values per frame and candidate (bfloat16); and larger products leave the caches
    of a CPU: 9,600 vectors of LeWM's size at once take 1.3 times as long as in parts of 2,048.
    """
    return 2_048 if device.type == "cpu" else 16_384


def build_world_model(
    config: WorldModelConfig | WorldModelArchitecture,
    *,
    action_size: int,
    proprio_size: int = 0,
    action_statistics: Statistics | None = None,
    proprio_statistics: Statistics | None = None,
) -> LatentWorldModel:
    """Build the world model that ``config`` describes, with fresh weights from torch's global generator.

    ``action_size`` is that of one environment step. Statistics are (mean, std, low, high) of one environment step
    over the training episodes; without them nothing is scaled. Raises ConfigError where parts do not fit.
    """
    parts = config.architecture if isinstance(config, WorldModelConfig) else config
    next_state = _next_state(parts, action_size, proprio_size)
    frame_skip = parts.frame_skip
    frames = build_frames(parts.frames, resolution=parts.resolution)
    dynamics = build_dynamics(
        parts.dynamics,
        dim=frames.dim,
        grid=frames.grid,
        action_size=frame_skip * action_size,
        proprio_size=proprio_size,
        normalise=frames.normalised,
    )
    scaling = Scaling(
        action_statistics,
        proprio_statistics,
        action_size=action_size,
        proprio_size=proprio_size,
        frame_skip=frame_skip,
    )
    model = LatentWorldModel(frames, dynamics, scaling, resolution=parts.resolution, next_state=next_state)
    model.architecture = parts
    model.config = config if isinstance(config, WorldModelConfig) else None
    return model


def _next_state(config: WorldModelArchitecture, action_size: int, proprio_size: int) -> NextState:
    """Return what becomes of proprioception; raises ConfigError where the action cannot be its change."""
    if not proprio_size or not isinstance(config.dynamics, TokenDynamics):
        return "given"
    if config.dynamics.next_state == "pose" and (action_size, proprio_size) != (SIZE, SIZE):
        raise ConfigError(
            f"dynamics.next_state: pose takes actions and proprioception of {SIZE} numbers (x, y, z, three angles, "
            f"gripper), but an action has {action_size} and proprioception {proprio_size}; set dynamics.next_state: "
            "given or add, or read poses"
        )
    if config.dynamics.next_state == "add" and action_size != proprio_size:
        raise ConfigError(
            f"dynamics.next_state: add takes the action for the change of proprioception, but an action has "
            f"{action_size} numbers and proprioception {proprio_size}; set dynamics.next_state: given, "
            "or data.proprio: false"
        )
    return config.dynamics.next_state


def build_value(config: ValueConfig, world_model: LatentWorldModel) -> TemporalDistance:
    """Build the distance in time between the frames of ``world_model``, with fresh weights."""
    frames = world_model.frames
    size = frames.dim if config.pool else frames.tokens * frames.dim
    return TemporalDistance(size, width=config.width, dim=config.dim, pool=config.pool)


def load_world_model(source: str | Path, *, device: str = "auto") -> LatentWorldModel:
    """Load a frozen world model.

    ``source`` is a run directory of `jepa world-model` (its newest checkpoint), a checkpoint or a file or folder of
    published weights, whose format is recognised, or ``FORMAT:PATH``. A frozen frame encoder is loaded from the
    source that the config names, and must be the one of the training.
    Raises CheckpointError when ``source`` holds no world model.
    """
    found, place = find_format(str(source))
    model = found.load_world_model(place)
    assert isinstance(model, LatentWorldModel)
    return model.requires_grad_(False).eval().to(resolve_device(device))


def assemble_world_model(
    config: WorldModelConfig | WorldModelArchitecture, weights: Mapping[str, Tensor], source: str
) -> LatentWorldModel:
    """Build the world model of ``config`` on the CPU, with ``weights``, among them those of a learned distance.

    Raises CheckpointError where they are not the weights of such a model.
    """
    sizes = {name: len(weights.get(f"scaling.{name}_mean", ())) for name in ("action", "proprio")}
    model = build_world_model(config, action_size=sizes["action"], proprio_size=sizes["proprio"])
    if config.value is not None and any(name.startswith("value.") for name in weights):
        model.value = build_value(config.value, model)
    load_exactly(model, weights, source)
    return model
