"""The planner of V-JEPA 2-AC, ours and the released one, on the same weights; sizes are scaled down to a CPU."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.given_latents import GivenLatents
from benchmarks.peers import peer_modules
from jepa.config.world_model import TokenDynamics
from jepa.models.dynamics import build_dynamics
from jepa.models.formats.vjepa2_ac import PREDICTOR
from jepa.models.poses import SIZE
from jepa.models.scaling import Scaling
from jepa.models.world_model import LatentWorldModel
from jepa.planning import BoxSpace, CEMMean, GoalDistance, Imagined
from jepa.planning.noise import Noise
from jepa.types import Grid

RADIUS, GRIPPER = 0.05, 0.75  # metres along each axis, and the gripper: notebooks/utils/mpc_utils.py
MOMENTUM, ELITES = 0.15, 10  # notebooks/utils/world_model_wrapper.py
HEAD_WIDTH = 64  # as released: 16 heads of 64
FREE = [0, 1, 2, 6]  # the numbers of an action that are searched


@dataclass(frozen=True)
class Size:
    """Sizes of a predictor and of its frames (released: 24 x 1024, 256 tokens of 1408)."""

    depth: int
    width: int
    side: int
    """Tokens along each side of a frame."""
    dim: int
    """Numbers of a token that is predicted."""
    history: int = 32
    """Frames that a frame attends to, itself among them; as released, 32 are possible."""

    @property
    def grid(self) -> Grid:
        """The tokens of a frame."""
        return Grid(1, self.side, self.side)

    def __str__(self) -> str:
        return f"{self.depth} x {self.width}, {self.grid.tokens} tokens of {self.dim}"

    def flops(self, frames: int, keys: int) -> float:
        """Return the FLOPs of predicting from ``frames`` frames whose tokens each meet those of ``keys`` frames."""
        tokens = self.grid.tokens + 2
        block = 24 * tokens * self.width**2 + 4 * tokens * tokens * keys * self.width
        return frames * (self.depth * block + 4 * self.grid.tokens * self.width * self.dim)


def build_model(size: Size) -> LatentWorldModel:
    """Build our world model with random weights, large enough that every token matters."""
    config = TokenDynamics(
        kind="tokens",
        depth=size.depth,
        width=size.width,
        heads=size.width // HEAD_WIDTH,
        history=size.history,
        next_state="pose",
        rotary_layout="released",
    )
    dynamics = build_dynamics(
        config, dim=size.dim, grid=size.grid, action_size=SIZE, proprio_size=SIZE, normalise=True
    )
    for weight in dynamics.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    scaling = Scaling(action_size=SIZE, proprio_size=SIZE, frame_skip=1)
    frames = GivenLatents(size.grid, size.dim, normalised=True)
    return LatentWorldModel(frames, dynamics, scaling, resolution=32, next_state="pose").eval()


def search_space(device: str = "cpu") -> BoxSpace:
    """Return where the released planner searches: it moves, and opens or closes the gripper, but does not turn."""
    high = torch.tensor([RADIUS, RADIUS, RADIUS, 0, 0, 0, GRIPPER], device=device)
    return BoxSpace(-high, high)


def released_search(samples: int, rounds: int) -> CEMMean:
    """Return our solver with the released planner's settings."""
    return CEMMean(
        samples=samples,
        iterations=rounds,
        elites=ELITES,
        initial_std=(1, 1, 1, 1, 1, 1, 1 / GRIPPER),
        momentum=MOMENTUM,
        momentum_std=MOMENTUM,
        dead_zone=(0, 0, 0, 0, 0, 0, 0.25),
    )


@dataclass(frozen=True, eq=False)
class Task:
    """One decision: what was seen, done and felt, and where to go."""

    z: Tensor  # (1, T, N, D)
    past: Tensor  # (1, T - 1, 7)
    poses: Tensor  # (1, T, 7)
    goal: Tensor  # (1, N, D)

    def cost(self, model: LatentWorldModel) -> Callable[[Tensor], Tensor]:
        """Return what a solver minimises: actions (1, S, H, 7) -> (1, S)."""

        def costs(actions: Tensor) -> Tensor:
            future = model.rollout(self.z, actions, past_actions=self.past, proprio=self.poses)
            return GoalDistance("l1")(Imagined(future, actions, self.z[:, -1], self.goal))

        return costs


class Released:
    """The released predictor and its search, from a clone of facebookresearch/vjepa2, with our weights."""

    def __init__(self, folder: Path, model: LatentWorldModel, size: Size) -> None:
        logging.disable(logging.INFO)  # it reports every round
        warnings.simplefilter("ignore")  # it uses what timm and torch have renamed
        predictor, self.planner = modules(folder)
        self.network = predictor.vit_ac_predictor(
            img_size=(16 * size.side, 16 * size.side),
            num_frames=2 * size.history,
            embed_dim=size.dim,
            predictor_embed_dim=size.width,
            depth=size.depth,
            num_heads=size.width // HEAD_WIDTH,
        )
        theirs = PREDICTOR.theirs(model.dynamics.state_dict(), "the benchmark")
        missing, unexpected = self.network.load_state_dict(theirs, strict=False)
        assert not unexpected and all(name.startswith("extrinsics_encoder.") for name in missing), missing
        self.network = self.network.to(next(model.parameters()).device).eval()

    def step(self, task: Task) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return its world model (notebooks/utils/world_model_wrapper.py), told also of the actions before the plan."""
        tokens = task.z.shape[2]

        def step(frames: Tensor, actions: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
            taken = torch.cat((task.past.expand(len(actions), -1, -1), actions), dim=1)
            z = self.network(frames.flatten(1, 2), taken, poses)[:, -tokens:]
            moved = self.planner.compute_new_pose(poses[:, -1:], actions[:, -1:])
            return F.layer_norm(z, z.shape[-1:]).unsqueeze(1), moved

        return step

    @torch.no_grad()
    def decide(self, task: Task, *, horizon: int, samples: int, rounds: int) -> Tensor:
        """Return the plan of its search, (H, 7)."""
        plan: Tensor = self.planner.cem(
            context_frame=task.z,
            context_pose=task.poses,
            goal_frame=task.goal[:, None],
            world_model=self.step(task),
            rollout=horizon,
            cem_steps=rounds,
            samples=samples,
            topk=ELITES,
            momentum_mean=MOMENTUM,
            momentum_std=MOMENTUM,
            maxnorm=RADIUS,
        )
        return plan[0]

    def decide_on(
        self, noise: list[Tensor], task: Task, *, horizon: int, samples: int, rounds: int
    ) -> Tensor:
        """Return its plan, (H, 7), when it draws ``noise``: of each round and step, (S, 4)."""
        with patch.object(torch, "randn", side_effect=noise):
            return self.decide(task, horizon=horizon, samples=samples, rounds=rounds)


def modules(folder: Path) -> list[ModuleType]:
    """Import predictor and search."""
    return peer_modules(folder, "src.models.ac_predictor", "notebooks.utils.mpc_utils")


def our_noise(seed: int, *, horizon: int, samples: int, rounds: int) -> list[Tensor]:
    """Return what our search draws with a generator of ``seed``, in the order in which the released one asks for it."""
    draws = Noise(torch.Generator().manual_seed(seed), batch=1, device=torch.device("cpu"))
    found: list[Any] = []
    for _ in range(rounds):
        found += draws.draw(samples, steps=horizon, size=SIZE)[0][..., FREE].unbind(dim=1)
    return found
