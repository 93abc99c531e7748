"""A hand that moves as V-JEPA 2-AC's does, drawn and encoded by frozen random weights, and a world model of it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.released_planner import GRIPPER, RADIUS, Size, Task, build_model
from jepa.config.world_model import AcObjective
from jepa.models.poses import SIZE, moved
from jepa.models.world_model import LatentWorldModel
from jepa.objectives.dynamics.ac import VJEPA2AC
from jepa.types import Windows

PATCH, HIDDEN = 8, 128  # pixels along a side, and width of the frozen network
SPREAD = 0.12  # of the drawn hand, in metres
BATCH, LEARNING_RATE = 64, 2e-3


class DrawnHand:
    """Frames of a hand in a cube of one metre, from above and from the side; the gripper is a ring of colour."""

    def __init__(self, size: Size) -> None:
        """Draw the frozen weights from a fixed seed."""
        draw = torch.Generator().manual_seed(0)
        self.side, self.pixels = size.side, size.side * PATCH
        inputs = 3 * PATCH**2
        self.inner = torch.randn(HIDDEN, inputs + 1, generator=draw) * (4 / inputs) ** 0.5
        self.outer = torch.randn(size.dim, HIDDEN, generator=draw) * HIDDEN**-0.5

    def images(self, poses: Tensor) -> Tensor:
        """Draw (..., 7) -> (..., 3, H, W): seen from above, from the side, and the gripper's width from above."""
        grid = (torch.arange(self.pixels) + 0.5) / self.pixels
        x, y, z = (
            torch.exp(-(((poses[..., i, None] - grid) / SPREAD) ** 2) / 2) for i in range(3)
        )  # (..., W)
        above, beside = x[..., None, :] * y[..., :, None], x[..., None, :] * z[..., :, None]
        return torch.stack((above, beside, above * poses[..., 6, None, None]), dim=-3)

    def encode(self, poses: Tensor) -> Tensor:
        """Draw and encode: (..., 7) -> (..., N, D), layer-normed as those of V-JEPA 2-AC."""
        patches = self.images(poses).unflatten(-2, (self.side, PATCH)).unflatten(-1, (self.side, PATCH))
        patches = patches.movedim((-5, -3, -1), (-3, -2, -1)).flatten(-3)  # (..., side, side, 3 P P)
        tokens = F.gelu(F.linear(patches, self.inner[:, :-1], self.inner[:, -1])) @ self.outer.T
        return F.layer_norm(tokens.flatten(-3, -2), tokens.shape[-1:])


def some_actions(*shape: int, draw: torch.Generator) -> Tensor:
    """Draw actions (..., 7) evenly from where the planner searches."""
    high = torch.tensor([RADIUS, RADIUS, RADIUS, 0, 0, 0, GRIPPER])
    return (2 * torch.rand(*shape, SIZE, generator=draw) - 1) * high


def some_poses(count: int, *, draw: torch.Generator) -> Tensor:
    """Draw poses (count, 7) that do not turn."""
    poses = torch.rand(count, SIZE, generator=draw)
    poses[:, :3] = 0.3 + 0.4 * poses[:, :3]
    poses[:, 3:6] = 0
    return poses


def followed(poses: Tensor, actions: Tensor) -> Tensor:
    """Return the poses on the way: (B, 7), (B, H, 7) -> (B, H + 1, 7)."""
    way = [poses]
    for action in actions.unbind(1):
        way.append(moved(way[-1], action))
    return torch.stack(way, dim=1)


def trained_model(hand: DrawnHand, size: Size, *, horizon: int, steps: int) -> tuple[LatentWorldModel, float]:
    """Train on random walks with the objective of V-JEPA 2-AC; return the model and its last loss of a rollout."""
    torch.manual_seed(0)
    model, draw = build_model(size), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.dynamics.blocks.parameters():
            weight.mul_(0.3 if weight.ndim > 1 else 1)
    config = AcObjective(kind="ac", rollout_steps=horizon)
    objective = VJEPA2AC(model, config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    losses = []
    for _ in range(steps):
        actions = some_actions(BATCH, horizon, draw=draw)
        way = followed(some_poses(BATCH, draw=draw), actions)
        out = objective(Windows(hand.encode(way), actions, way))
        optimizer.zero_grad()
        out["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(out["rollout_loss"]))
    return model.requires_grad_(False).eval(), sum(losses[-20:]) / len(losses[-20:])


def problem(hand: DrawnHand, number: int, *, horizon: int) -> tuple[Task, Tensor]:
    """Return a task whose goal is ``horizon`` random actions away, and the actions that lead there, (H, 7)."""
    draw = torch.Generator().manual_seed(1000 + number)
    actions = some_actions(1, horizon, draw=draw)
    way = followed(some_poses(1, draw=draw), actions)
    return Task(
        hand.encode(way[:, :1]), torch.zeros(1, 0, SIZE), way[:, :1], hand.encode(way[:, -1])
    ), actions[0]
