"""The policy that plans, acts, looks and plans again, in any gymnasium loop."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.errors import ConfigError, DataError, RunError
from jepa.planning.context import Context, rows
from jepa.planning.costs import Imagined
from jepa.planning.search import Plan, check_sizes, shifted
from jepa.planning.solver import ActionSpace, Solver
from jepa.planning.spaces import DiscreteSpace, as_space
from jepa.runtime.seeding import generator
from jepa.types import WorldModel

Array = NDArray[Any]
Observation = Mapping[str, Array] | Array


class MPC:
    """Model predictive control in the latent space: search a plan, execute its head, look, search again.

    One environment: images without a batch axis. A vector environment: all arrays with one, and one plan for each
    environment, searched together; all are reset together. ``action_space`` is that of one environment
    (``single_action_space``). Nothing but images, proprioception and its own actions reaches the policy. The goal
    is encoded once per episode and a frame once per decision, never per candidate; actions must be executed as
    they are returned.

    Raises ConfigError for a horizon of 0, fewer planned than executed steps, or a world model whose actions are
    not the environment's.
    """

    def __init__(
        self,
        world_model: WorldModel,
        solver: Solver,
        cost: Callable[[Imagined], Tensor],
        *,
        horizon: int,
        action_space: ActionSpace,
        replan_every: int = 1,
        warm_start: bool = True,
        seed: int = 0,
    ) -> None:
        check_sizes(horizon=horizon, batch=1)
        if not 1 <= replan_every <= horizon:
            raise ConfigError(
                f"replan_every {replan_every} -- it must lie between 1 and the horizon, {horizon} model steps"
            )
        self.space = as_space(action_space).tile(world_model.frame_skip)
        if self.space.size != world_model.action_size:
            raise ConfigError(
                f"the environment's actions have {self.space.size} numbers over {world_model.frame_skip} steps, the "
                f"world model's {world_model.action_size} -- they must agree -- plan in the environment whose "
                "episodes the world model was trained on"
            )
        self.world_model, self.solver, self.cost = world_model, solver, cost
        self.horizon, self.replan_every, self.warm_start = horizon, replan_every, warm_start
        self.seconds: list[float] = []
        """Wall time of every decision since the policy was made, the encoding of frames included."""
        self.plan: Plan | None = None
        """The last decision, of the environments that were not finished."""
        self.context_frames: int | None = None
        """Frames that a search starts from, the newest ones; None: as many as the world model attends to."""
        self._seed, self._episodes = seed, 0
        self._goal: Tensor | None = None  # (B, N, D)

    @torch.inference_mode(
        False
    )  # a gradient solver needs ordinary tensors, whatever the caller's loop runs in
    @torch.no_grad()
    def reset(self, goal: Array, *, seeds: Sequence[int] | None = None) -> None:
        """Start an episode: ``goal`` is a uint8 image (H, W, 3), or (B, H, W, 3) for a vector environment.

        ``seeds``, one per environment, make its plans independent of the others in the batch and of earlier
        episodes; by default they follow from the policy's seed. Raises DataError for anything but such images.
        """
        images = torch.from_numpy(np.array(goal, order="C"))
        if images.dtype != torch.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
            raise DataError(
                f"goal is {images.dtype} {tuple(images.shape)} -- it must be a uint8 image (H, W, 3), or (B, H, W, 3) "
                "for a vector environment"
            )
        self._single = images.ndim == 3
        images = images[None] if self._single else images
        self._goal_size = images.shape  # (B, H, W, 3)
        self._goal = self.world_model.encode(images[:, None])[:, 0]
        batch = len(images)
        if seeds is None:
            keys = [(self._seed, self._episodes, row) for row in range(batch)]
        else:
            keys = [(seed, 0, 0) for seed in seeds]
        if len(keys) != batch:
            raise ConfigError(f"{len(keys)} seeds for {batch} environments -- give one for each")
        self._generators = [generator(seed, "plan", *key) for seed, *key in keys]
        self._episodes += 1
        self._space = self.space.to(self._goal.device)
        self._context = Context(self.world_model, self.context_frames)
        self._step = 0
        self._actions = self._neutral(batch)

    @torch.inference_mode(False)
    @torch.no_grad()
    def act(self, observation: Observation, *, finished: NDArray[np.bool_] | None = None) -> Array:
        """Return the next environment action: (a,), or (B, a) for a vector environment; integers when discrete.

        ``observation`` holds ``pixels``, uint8 (H, W, 3) or (B, H, W, 3), and ``proprio`` where the world model has
        it; or it is the pixels. ``finished``, (B,), names environments that need no plan any more.
        Raises RunError before `reset`, DataError for observations that do not fit the goal or the world model.
        """
        if self._goal is None:
            raise RunError(
                "act was called before reset -- call policy.reset(goal) at the start of each episode"
            )
        step, phase = divmod(self._step, self.world_model.frame_skip)
        due = step % self.replan_every
        if phase == 0:
            began = time.perf_counter()
            self._context.see(*self._read(observation))
            if due == 0:
                self._decide(self._goal, finished)
                self.seconds.append(time.perf_counter() - began)
            self._context.did(self._actions[:, due])
        self._step += 1
        return self._environment_actions(self._actions[:, due], phase)

    def _decide(self, goal: Tensor, finished: NDArray[np.bool_] | None) -> None:
        """Search new plans for the environments that are not finished."""
        z = self._context.latents()
        done = np.zeros(len(goal), bool) if finished is None else np.asarray(finished, bool)
        if done.shape != (len(goal),):
            raise DataError(
                f"finished is {done.shape} -- it must hold one bool for each of {len(goal)} environments"
            )
        open_rows = torch.from_numpy(np.flatnonzero(~done))
        rest, self._actions = shifted(self._actions, self.replan_every), self._neutral(len(goal))
        if done.all():
            return
        index = open_rows.to(goal.device)
        self.plan = self.solver.solve(
            self._cost_of(z[index], goal[index], open_rows),
            horizon=self.horizon,
            action_space=self._space,
            batch=len(index),
            warm_start=rest[index] if self.warm_start and self._step > 0 else None,
            generator=[self._generators[row] for row in open_rows.tolist()],
        )
        self._actions[index] = self.plan.actions

    def _neutral(self, batch: int) -> Tensor:
        """Return plans (B, H, A) of environments that need none."""
        return self._space.actions(self._space.neutral()).repeat(batch, self.horizon, 1)

    def _cost_of(self, z: Tensor, goal: Tensor, index: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what the solver minimises: the cost of what the world model imagines after ``z``, (b, T, N, D)."""
        past_actions = rows(self._context.past_actions(), index)
        proprio = rows(self._context.proprio(), index)

        def cost(actions: Tensor) -> Tensor:
            imagined = self.world_model.rollout(z, actions, past_actions=past_actions, proprio=proprio)
            return self.cost(Imagined(imagined, actions, start=z[:, -1], goal=goal))

        return cost

    def _read(self, observation: Observation) -> tuple[Tensor, Tensor | None]:
        """Return pixels (B, H, W, 3) and proprioception (B, P), checked."""
        there = observation if isinstance(observation, Mapping) else {"pixels": observation}
        wanted = ("pixels", "proprio") if self.world_model.proprio_size else ("pixels",)
        if missing := [name for name in wanted if name not in there]:
            raise DataError(
                f"the observation has {sorted(there)} and lacks {missing} -- the world model needs {list(wanted)}"
            )
        # Copies: an environment may reuse its arrays before the frame is encoded.
        pixels, *proprio = (torch.from_numpy(np.array(there[name], order="C")) for name in wanted)
        pixels, proprio = (
            (pixels[None], [one[None] for one in proprio]) if self._single else (pixels, proprio)
        )
        self._check_pixels(pixels)
        if not proprio:
            return pixels, None
        size = (len(pixels), self.world_model.proprio_size)
        if proprio[0].shape != size:
            raise DataError(f"proprio is {tuple(proprio[0].shape)} -- the world model needs (B, P) = {size}")
        return pixels, proprio[0].to(self._space.device, torch.float32)

    def _check_pixels(self, pixels: Tensor) -> None:
        batch, height, width, _ = self._goal_size
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or len(pixels) != batch or pixels.shape[-1] != 3:
            raise DataError(
                f"pixels are {pixels.dtype} {tuple(pixels.shape)} -- they must be uint8 (B, H, W, 3) for the "
                f"{batch} environments that got a goal (one environment: (H, W, 3), and one goal)"
            )
        if pixels.shape[1] * width != pixels.shape[2] * height:
            raise DataError(
                f"the goal has {height} x {width} pixels, the observation {pixels.shape[1]} x {pixels.shape[2]} -- "
                "they must have the same aspect -- give the goal as the environment draws it"
            )

    def _environment_actions(self, block: Tensor, phase: int) -> Array:
        """Return what the environment executes in step ``phase`` of a model step's action (B, A)."""
        each = block.reshape(len(block), self.world_model.frame_skip, -1)[:, phase]  # (B, a)
        if isinstance(self._space, DiscreteSpace):
            each = each.argmax(dim=-1)  # (B,)
        actions: Array = each.cpu().numpy()
        return actions[0] if self._single else actions
