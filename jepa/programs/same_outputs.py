"""Whether weights that were written give the same outputs as those they were written from."""

from pathlib import Path

import torch
from torch import Tensor

from jepa.errors import CheckpointError
from jepa.models.formats.base import Format, Source
from jepa.models.frozen import Frozen, Networks
from jepa.models.world_model import LatentWorldModel
from jepa.preprocess import height_width
from jepa.types import Grid, Masks

FRAMES, HORIZON = 2, 2  # of the world model's frames and imagined steps that are compared


@torch.inference_mode()
def compare(
    loaded: Frozen | LatentWorldModel, goal: Format, path: Path
) -> tuple[float | None, tuple[str, ...]]:
    """Read ``path`` again; return the largest difference of outputs, and the parts that are not in it.

    The difference is None for a program. Raises CheckpointError where what was written cannot
    be read, and where outputs are not finite.
    """
    generator = torch.Generator().manual_seed(0)
    place = Source(str(path))
    if isinstance(loaded, LatentWorldModel):
        if goal.is_program:
            return None, ()
        model = goal.load_world_model(place)
        assert isinstance(model, LatentWorldModel)
        probe = random_episode(loaded, generator)
        pairs = list(zip(imagined(loaded, *probe), imagined(model.eval(), *probe), strict=True))
        return _largest(pairs), ("distance in time",) if loaded.value and not model.value else ()
    if goal.is_program:
        return None, ()
    networks = goal.load(place, "target").networks
    at_rest(networks)
    encoder, lost = loaded.encoder, []
    length = 1 if getattr(encoder, "patch_embed", encoder) is None else 2 * encoder.tubelet
    if (
        networks.encoder.tubelet != encoder.tubelet
    ):  # of an encoder of videos, only what it does to images is stored
        length, lost = 1, ["embedding of videos"]
    clip = torch.randn(1, 3, length, *height_width(encoder.resolution), generator=generator)
    pairs = [(encoder(clip), networks.encoder(clip))]
    if loaded.networks.predictor is not None and networks.predictor is not None:
        pairs.append((_predicted(loaded.networks, clip), _predicted(networks, clip)))
    elif loaded.networks.predictor is not None:
        lost.append("predictor")
    return _largest(pairs), tuple(lost)


def random_episode(
    model: LatentWorldModel, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Draw frames, actions between them, actions after them and proprioception, as ``model`` takes them."""
    height, width = height_width(model.resolution)
    frames = torch.randint(0, 256, (1, FRAMES, height, width, 3), generator=generator, dtype=torch.uint8)
    between = torch.randn(1, FRAMES - 1, model.action_size, generator=generator)
    actions = torch.randn(1, HORIZON, model.action_size, generator=generator)
    state = torch.randn(1, FRAMES, model.proprio_size, generator=generator) if model.proprio_size else None
    return frames, between, actions, state


def imagined(
    model: LatentWorldModel, frames: Tensor, between: Tensor, actions: Tensor, proprio: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return latents of frames, and those that are imagined after them."""
    z = model.encode(frames)  # (B, T, N, D)
    return z, model.rollout(z, actions, past_actions=between, proprio=proprio)  # (B, H, N, D)


def _predicted(networks: Networks, clip: Tensor) -> Tensor:
    """Predict the second half of a clip's tokens from the first."""
    grid: Grid = networks.encoder.grid(clip.shape)
    context, target = torch.arange(grid.tokens).unsqueeze(0).tensor_split(2, dim=1)
    assert networks.predictor is not None
    return networks.predictor(networks.encoder(clip, keep=context), Masks(context, target), grid)


def _largest(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Return the largest absolute difference. Raises CheckpointError for outputs of another shape, or not finite."""
    for ours, theirs in pairs:
        if ours.shape != theirs.shape or not torch.isfinite(ours - theirs).all():
            raise CheckpointError(
                f"what was written gives outputs {tuple(theirs.shape)} for {tuple(ours.shape)} of the source, or "
                "numbers that are not finite; nothing was kept. Check that the source itself is sound"
            )
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)


def at_rest(networks: Networks) -> None:
    """Take networks out of training."""
    for part in networks:
        if part is not None:
            part.requires_grad_(False).eval()
