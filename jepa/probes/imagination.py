"""How far a world model can be trusted: prediction error against the horizon, beside two baselines that see less."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.types import Windows, WorldModel

MODEL, COPY, MEAN = "world model", "last frame again", "mean frame"


@dataclass(frozen=True, slots=True)
class HorizonErrors:
    """Mean squared latent error after 1, 2, ... imagined steps, as a share of the latents' variance.

    Zero is perfect; what always answers the mean frame has about one.
    """

    windows: int
    world_model: tuple[float, ...]
    copy: tuple[float, ...]
    """Of the last frame seen, given again for every step."""
    mean: tuple[float, ...]
    """Of the mean over all frames."""

    def lines(self) -> dict[str, tuple[float, ...]]:
        """Return the errors by the names of the rows."""
        return {MODEL: self.world_model, COPY: self.copy, MEAN: self.mean}

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return asdict(self)


@torch.inference_mode()
def horizon_errors(world_model: WorldModel, windows: Iterable[Windows], *, context: int) -> HorizonErrors:
    """Imagine every window from its first ``context`` frames on, with the recorded actions, and compare.

    Windows are of one length, ``context`` + H frames; H is the horizon. Errors are means over windows, tokens and
    channels. Raises DataError where there is no window, or no frame is left to predict.
    """
    # Sums over windows, in float64: of squared errors per step, and for the variance of the latents.
    model = copied = squares = total = torch.zeros((), dtype=torch.float64)
    count = 0
    for batch in windows:
        if batch.frames.shape[1] <= context:
            raise DataError(
                f"windows of {batch.frames.shape[1]} frames leave none to predict after {context} of context"
            )
        z = world_model.encode(batch.frames.movedim(2, -1))  # (B, T, N, D)
        seen, future = z[:, :context], z[:, context:]
        actions = batch.actions.to(z.device)
        imagined = world_model.rollout(
            seen,
            actions[:, context - 1 :],
            past_actions=actions[:, : context - 1],
            proprio=None if batch.proprio is None else batch.proprio[:, :context].to(z.device),
        )
        model = model + _per_step(imagined - future)
        copied = copied + _per_step(seen[:, -1:] - future)
        squares = squares + future.double().square().sum(0).cpu()
        total = total + future.double().sum(0).cpu()
        count += len(z)
    if count == 0:
        raise DataError("no episode is long enough for this horizon; lower it, or keep more test episodes")
    mean = total.mean(0) / count  # (N, D), over windows and steps
    around_mean = (squares - 2 * mean * total).sum((-2, -1)) + count * mean.square().sum()  # (H,)
    variance = around_mean.mean().clamp(min=1e-30)
    return HorizonErrors(count, *(tuple((sums / variance).tolist()) for sums in (model, copied, around_mean)))


def _per_step(error: Tensor) -> Tensor:
    """Sum squares over windows, tokens and channels: (B, H, N, D) -> (H,)."""
    return error.double().square().sum((0, 2, 3)).cpu()
