"""Quasimetric learning of the distance in time, from episodes of whatever behaviour (QRL, arXiv:2304.01203)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.config.world_model import ValueConfig
from jepa.errors import DataError, NonFiniteError
from jepa.models.temporal_distance import TemporalDistance, pooled, quasimetric
from jepa.runtime.schedules import cosine
from jepa.runtime.seeding import generator, seed_everything

STEEPNESS = 5.0  # of the softplus in `push_apart`, times `reach`: 500 * .01 in QRL's offline experiments
FIRST_MULTIPLIER = 5.0  # QRL starts at .01 and needs some thousand steps more
MULTIPLIER_RATE = 0.05  # Adam's, of the multiplier (QRL: .01)
FINAL_RATE = 0.05  # share of the learning rate that is left at the last step


def push_apart(distances: Tensor, reach: float) -> Tensor:
    """Return what falls as the distances between unrelated frames grow, and levels off past ``reach`` steps.

    mean of softplus(reach - d), with a steepness of 5 / reach (phi in QRL, section 3.2).
    """
    return F.softplus(reach - distances, beta=STEEPNESS / reach).mean()


def violation(distances: Tensor, slack: float) -> Tensor:
    """Return by how much neighbouring frames are more than one step apart, less what is allowed.

    mean of max(0, d - 1)^2, minus slack^2 (QRL, section 3.2): at most 0 where the constraint holds.
    """
    return (distances - 1).relu().square().mean() - slack**2


class QuasimetricLoss(torch.nn.Module):
    """Push all frames apart, but keep each frame within one step of the one before it.

    Where no distance is larger than the steps allow, and each is as large as they allow, it is the length of the
    shortest way over all steps seen in any episode, whoever acted. The multiplier of the constraint is learned by
    gradient ascent (QRL, section 3.2).
    """

    def __init__(self, *, reach: float, slack: float) -> None:
        """``reach`` is more than most distances, in steps; ``slack`` the root mean square allowed above one step."""
        super().__init__()
        self.reach, self.slack = reach, slack
        self.raw_multiplier = torch.nn.Parameter(torch.tensor(FIRST_MULTIPLIER).expm1().log())

    def forward(self, distance: TemporalDistance, frames: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the distance minimises and what the multiplier minimises.

        ``frames`` and ``following`` are (B, N, D) in random order, and frame i comes just before following i; the
        goal of frame i is following i - 1, of an unrelated episode.
        """
        start, end = distance.embed(torch.cat([frames, following])).chunk(2)  # (B, dim) each
        broken = violation(quasimetric(start, end), self.slack)
        multiplier = F.softplus(self.raw_multiplier)
        apart = push_apart(quasimetric(start, end.roll(1, dims=0)), self.reach)
        return apart + multiplier.detach() * broken, -multiplier * broken.detach()


def fit_temporal_distance(
    latents: Sequence[Tensor], config: ValueConfig, *, seed: int, device: torch.device | str = "cpu"
) -> TemporalDistance:
    """Learn the distance in model steps on encoded episodes, a (T + 1, N, D) each, one frame per model step.

    The result is a function of the episodes, ``config`` and ``seed``; it is on ``device``, in eval mode, and needs
    no gradient. Raises DataError where no episode has two frames or a latent is not finite, NonFiniteError where a
    loss is not.
    """
    frames, before = _joined(latents, pool=config.pool)
    frames = frames.to(device)  # (M, 1, size)
    distance = _fresh(frames, config, seed).to(device)
    loss = QuasimetricLoss(reach=config.reach, slack=config.slack).to(device)
    optimizer = torch.optim.Adam(distance.parameters(), lr=config.learning_rate)
    ascent = torch.optim.Adam(loss.parameters(), lr=MULTIPLIER_RATE)
    draws = generator(seed, "temporal distance", "pairs")
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = cosine(
            step, start=config.learning_rate, end=FINAL_RATE * config.learning_rate, steps=config.steps
        )
        index = before[torch.randint(len(before), (config.batch_size,), generator=draws)].to(device)
        minimised, ascended = loss(distance, frames[index], frames[index + 1])
        if not torch.isfinite(minimised):
            raise NonFiniteError(
                f"the loss of the distance in time is {minimised.item()} at step {step} -- lower "
                f"value.learning_rate, now {config.learning_rate}"
            )
        optimizer.zero_grad()
        ascent.zero_grad()
        (minimised + ascended).backward()
        optimizer.step()
        ascent.step()
    return distance.eval().requires_grad_(False)


def _joined(latents: Sequence[Tensor], *, pool: bool) -> tuple[Tensor, Tensor]:
    """Return all frames end to end, as one token each, (M, 1, size), and where a step begins, (n,) long."""
    lengths = torch.tensor([len(episode) for episode in latents])
    if not len(latents) or int(lengths.max()) < 2:
        raise DataError(
            f"{len(latents)} episodes, none with two frames -- a distance in time is learned from steps -- "
            "give longer episodes"
        )
    frames = torch.cat([pooled(episode.float(), pool=pool).unsqueeze(-2) for episode in latents])
    if not bool(frames.isfinite().all()):
        raise DataError(
            f"{int((~frames.isfinite()).sum())} numbers of the encoded frames are not finite -- "
            "check the world model's encoder"
        )
    is_last = torch.zeros(len(frames), dtype=torch.bool)
    is_last[lengths[lengths > 0].cumsum(0) - 1] = True
    return frames, (~is_last).nonzero()[:, 0]


def _fresh(frames: Tensor, config: ValueConfig, seed: int) -> TemporalDistance:
    """Return an untrained distance that knows the scale of the frames; the global generators stay as they are."""
    with torch.random.fork_rng():
        seed_everything(seed, "temporal distance", "weights")
        distance = TemporalDistance(frames.shape[-1], width=config.width, dim=config.dim, pool=config.pool)
    std, mean = torch.std_mean(frames, dim=(0, 1))
    distance.mean.copy_(mean)
    distance.std.copy_(std.clamp(min=1e-6))  # a channel that never changes stays 0
    return distance
