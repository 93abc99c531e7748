"""Goal-conditioned behaviour cloning: the action that recorded episodes took on their way to a later frame."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.errors import DataError
from jepa.runtime.schedules import cosine
from jepa.runtime.seeding import derive, generator

WIDTH = 256
BATCH_SIZE = 256
LEARNING_RATE = 1e-3  # Adam's, falling to 0 on a cosine


class GoalPolicy(nn.Module):
    """An MLP from a frame's latent and a goal's to an action within the bounds."""

    def __init__(self, size: int, low: Tensor, high: Tensor) -> None:
        """``size`` is N * D of one latent; ``low`` and ``high``, (A,), bound the action."""
        super().__init__()
        # Latents are standardised, because encoders differ in scale.
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.register_buffer("centre", (low + high) / 2)
        self.register_buffer("reach", (high - low) / 2)
        self.layers = nn.Sequential(
            *(nn.Linear(2 * size, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, len(low)), nn.Tanh()),
        )

    mean: Tensor
    deviation: Tensor
    centre: Tensor
    reach: Tensor

    def normalised(self, z: Tensor, goal: Tensor) -> Tensor:
        """Return the action on a scale where the bounds are -1 and 1: (B, N, D), (B, N, D) -> (B, A)."""
        pair = torch.stack([z.flatten(1), goal.flatten(1)], dim=1).float()  # (B, 2, N * D)
        action: Tensor = self.layers(((pair - self.mean) / self.deviation).flatten(1))
        return action

    def forward(self, z: Tensor, goal: Tensor) -> Tensor:
        """Return the action, in the units of the environment: (B, N, D), (B, N, D) -> (B, A)."""
        return self.centre + self.reach * self.normalised(z, goal)


class Pairs:
    """Every step of every episode, and how far its episode goes on."""

    def __init__(self, lengths: Sequence[int], horizon: int | None) -> None:
        """``lengths`` are the episodes' steps T; ``horizon`` the farthest goal, None for the episode's last frame."""
        steps = torch.tensor(lengths)
        first = torch.cumsum(steps + 1, 0) - (steps + 1)  # row of each episode's first frame among all frames
        self.frame = torch.cat([torch.arange(int(t)) + int(f) for t, f in zip(steps, first, strict=True)])
        self.ahead = torch.cat([torch.arange(int(t), 0, -1) for t in steps])  # steps to the episode's end
        if horizon is not None:
            self.ahead = self.ahead.clamp(max=horizon)

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw ``count`` steps: rows of their actions, of their frames and of their goals, each (count,) long.

        A goal lies 1 to ``horizon`` steps after the frame, all equally likely, and never in another episode.
        """
        step = torch.randint(len(self.frame), (count,), generator=generator)
        later = torch.rand(count, generator=generator, dtype=torch.float64) * self.ahead[step]
        return step, self.frame[step], self.frame[step] + 1 + later.long()


def fit_behaviour_cloning(
    latents: Sequence[Tensor],
    actions: Sequence[Tensor],
    *,
    low: Tensor,
    high: Tensor,
    horizon: int | None = None,
    steps: int,
    seed: int,
    device: torch.device | str,
) -> GoalPolicy:
    """Learn to act towards a goal from episodes that nobody labelled with one; return the policy, frozen.

    Every later frame of an episode was a goal that its actions reached (Ghosh et al., "Learning to reach goals via
    iterated supervised learning", arXiv:1912.06088). Minimises the squared error to the recorded action, clipped to
    the bounds, for pairs of a frame and a goal 1 to ``horizon`` steps later in the same episode.

    ``latents`` are (T + 1, N, D) and ``actions`` (T, A) per episode; ``low`` and ``high`` are (A,). ``steps`` are
    Adam's. The same ``seed`` gives the same policy. Raises DataError for lengths that do not match, no steps at all, a
    horizon below 1, or bounds that are not finite and ordered.
    """
    check(latents, actions, low, high, horizon)
    z = torch.cat([episode.flatten(1) for episode in latents])  # (all frames, N * D)
    policy = fresh_policy(z, low.float().cpu(), high.float().cpu(), seed)
    taken = (torch.cat(list(actions)).float().cpu() - policy.centre) / policy.reach
    taken = taken.clamp(-1, 1)  # (all steps, A)
    policy.to(device)
    pairs, draw = Pairs([len(a) for a in actions], horizon), generator(seed, "behaviour cloning", "pairs")
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = cosine(step, start=LEARNING_RATE, end=0.0, steps=steps)
        rows, frames, goals = pairs.sample(BATCH_SIZE, draw)
        predicted = policy.normalised(z[frames].to(device), z[goals].to(device))
        loss = F.mse_loss(predicted, taken[rows].to(device))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return policy.requires_grad_(False).eval()


def fresh_policy(z: Tensor, low: Tensor, high: Tensor, seed: int) -> GoalPolicy:
    """Return an untrained policy that is drawn from ``seed`` and scaled to the latents ``z``, (frames, N * D)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "behaviour cloning", "weights"))
        policy = GoalPolicy(z.shape[1], low, high)
    deviation, mean = torch.std_mean(z.float(), dim=0)
    policy.mean.copy_(mean)
    # The floor keeps rounding errors of constant channels from looking like signals.
    policy.deviation.copy_(deviation.clamp(min=max(1e-3 * float(deviation.max()), 1e-6)))
    return policy


def check(
    latents: Sequence[Tensor], actions: Sequence[Tensor], low: Tensor, high: Tensor, horizon: int | None
) -> None:
    """Raise DataError for episodes or bounds that `fit_behaviour_cloning` cannot learn from."""
    if len(latents) != len(actions):
        raise DataError(
            f"{len(latents)} episodes of latents and {len(actions)} of actions; give one for each"
        )
    for i, (z, a) in enumerate(zip(latents, actions, strict=True)):
        if len(z) != len(a) + 1 or a.shape[1:] != low.shape:
            raise DataError(
                f"episode {i}: latents {tuple(z.shape)} and actions {tuple(a.shape)}; needed are T + 1 latents and "
                f"T actions of {len(low)} numbers"
            )
    if not any(len(a) for a in actions):
        raise DataError("there is no recorded step to clone; give episodes of at least two frames")
    if horizon is not None and horizon < 1:
        raise DataError(f"horizon is {horizon}; goals must lie at least 1 step ahead, or give None")
    if low.shape != high.shape or not (low < high).all() or not torch.isfinite(high - low).all():
        raise DataError(
            f"action bounds are {low.tolist()} to {high.tolist()}; they must be finite, with low < high"
        )
