"""What planning costs: rollouts with and without kept keys and values, solvers, many environments at once.

    python -m benchmarks.planning [--threads 2] [--rounds 5] [--tables rollout solvers batch]

Rollout: S candidates imagine H model steps from T frames of context. Cached is `world_model.rollout`: the context is
computed once for all candidates, and keys and values are kept. Uncached repeats the context for every candidate and
computes, at each step, all frames so far (prefix, as V-JEPA 2-AC's planner does) or the last `history` ones (window, as
DINO-WM and LeWM do). The prefix gives the same numbers, and the largest difference is printed; the window forgets what
the older frames told the newer ones, and is a smaller computation. Both multiply matrices as ours does.

Solvers: the same number of candidates on two analytic problems whose lowest cost is 0. The overhead is what is left of
the CPU time when that of the cost function is taken away; a gradient's backward pass counts as overhead.

Batch: one decision of `jepa.planning.MPC`, frames and goals encoded, for 1, 8 and 32 environments together. The floor
of a ratio is what the arithmetic alone allows: the FLOPs of 32 decisions at the speed of large matrix products, over
the measured seconds of one; it is below 32 only as far as one decision is not limited by arithmetic.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.estimates import flops_of_cpu_kernels
from benchmarks.given_latents import GivenLatents
from benchmarks.pairs import (
    Times,
    cpu_ratio,
    interleave,
    options,
    print_header,
    print_table,
    ratio,
    say,
    speed_of_products,
)
from jepa.config.world_model import (
    AdaLNDynamics,
    ConcatDynamics,
    ConvFrames,
    DynamicsConfig,
    FramesConfig,
    MlpDynamics,
    TokenDynamics,
    VitFrames,
)
from jepa.models.dynamics import build_dynamics
from jepa.models.frames import FrameEncoder, build_frames
from jepa.models.scaling import Scaling
from jepa.models.world_model import LatentWorldModel
from jepa.planning import CEM, ICEM, MPC, MPPI, BoxSpace, Gradient, RandomShooting, Refine, Solver
from jepa.planning.costs import GoalDistance
from jepa.types import Grid

ACTION, FRAME_SKIP = 2, 5  # PushT's
CONTEXT, HORIZON = 3, 5  # frames of history, model steps: LeWM's and DINO-WM's
CANDIDATES = 3000
BATCHES = (1, 8, 32)

Shape = tuple[DynamicsConfig, Grid, int, int]
"""Dynamics, tokens of a frame, numbers per token, candidates."""

SHAPES: tuple[Shape, ...] = (
    (TokenDynamics(kind="tokens", depth=3, width=128, heads=4, history=8), Grid(1, 4, 4), 64, 64),
    (TokenDynamics(kind="tokens", depth=6, width=192, heads=6, history=8), Grid(1, 6, 6), 192, 16),
    (ConcatDynamics(kind="concat", depth=3, width=128, heads=4), Grid(1, 4, 4), 64, 64),
    (ConcatDynamics(kind="concat", depth=6, width=192, heads=6), Grid(1, 6, 6), 192, 16),
    (AdaLNDynamics(kind="adaln", depth=3, width=128, heads=4), Grid(1, 1, 1), 64, 300),
    (AdaLNDynamics(kind="adaln", depth=6, width=192, heads=16), Grid(1, 1, 1), 192, 300),
    (MlpDynamics(kind="mlp", width=256), Grid(1, 1, 1), 64, 300),
    (MlpDynamics(kind="mlp", width=512), Grid(1, 1, 1), 192, 300),
)


DECISIONS: dict[str, tuple[DynamicsConfig, Solver, FramesConfig, int]] = {
    "mlp 2 x 256, CEM 64 x 3 (two-room)": (
        MlpDynamics(kind="mlp", width=256),
        CEM(samples=64, iterations=3, elites=8),
        ConvFrames(kind="conv", width=16),
        32,
    ),
    "adaln 2 x 128, CEM 64 x 3 (pointmaze-tiny)": (
        AdaLNDynamics(kind="adaln", depth=2, width=128, heads=4),
        CEM(samples=64, iterations=3, elites=8),
        ConvFrames(kind="conv", width=16),
        32,
    ),
    "adaln as LeWM, CEM 300 x 1 (of its 30 rounds)": (
        AdaLNDynamics(kind="adaln", depth=6, width=192, heads=16, head_width=64, mlp_width=2048),
        CEM(samples=300, iterations=1, elites=30),
        VitFrames(kind="vit", size="tiny", patch=14, dim=192),
        224,
    ),
}
"""Dynamics, solver, frame encoder, pixels: as in configs."""


def random_model(dynamics: DynamicsConfig, frames: FrameEncoder, resolution: int = 32) -> LatentWorldModel:
    """Build a world model with random weights, none of them 0, so that every path changes the numbers."""
    torch.manual_seed(0)
    size = ACTION * FRAME_SKIP
    built = build_dynamics(
        dynamics, dim=frames.dim, grid=frames.grid, action_size=size, proprio_size=0, normalise=False
    )
    for weight in built.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    scaling = Scaling(None, None, action_size=ACTION, proprio_size=0, frame_skip=FRAME_SKIP)
    return LatentWorldModel(frames, built, scaling, resolution=resolution).requires_grad_(False).eval()


def uncached(model: LatentWorldModel, z: Tensor, actions: Tensor, past: Tensor, frames: int) -> Tensor:
    """Imagine by computing the last ``frames`` frames of every candidate anew at each step: -> (B, S, H, N, D)."""
    batch, samples, horizon, _ = actions.shape
    seen = z.repeat_interleave(samples, dim=0)  # (B S, T, N, D)
    taken = torch.cat(
        (past.repeat_interleave(samples, dim=0), actions.flatten(0, 1)), dim=1
    )  # (B S, T-1+H, A)
    for _ in range(horizon):
        first = max(0, seen.shape[1] - frames)
        newest = model.predict(seen[:, first:], taken[:, first : seen.shape[1]])[:, -1:]  # (B S, 1, N, D)
        seen = torch.cat((seen, newest), dim=1)
    return seen[:, -horizon:].reshape(batch, samples, *seen[:, -horizon:].shape[1:])


def milliseconds(times: Times) -> str:
    """Return the median of the wall times and that of the CPU times."""
    return f"{1000 * times.seconds:.1f} ({1000 * times.cpu_seconds:.1f})"


def flops(run: Callable[[], object]) -> int:
    """Return the FLOPs of the matrix products of one call."""
    with FlopCounterMode(display=False, custom_mapping=flops_of_cpu_kernels()) as counter:
        run()
    return counter.get_total_flops()


@torch.inference_mode()
def rollout_table(rounds: int) -> None:
    """Print cached beside uncached rollouts."""
    say(
        f"Rollout: {CONTEXT} frames of context, horizon {HORIZON}; ms are wall (CPU), ratios those of wall times.\n"
    )
    rows = []
    for config, grid, dim, samples in SHAPES:
        model = random_model(config, GivenLatents(grid, dim))
        z = torch.randn(1, CONTEXT, grid.tokens, dim)
        actions = torch.rand(1, samples, HORIZON, ACTION * FRAME_SKIP) * 2 - 1
        past = torch.rand(1, CONTEXT - 1, ACTION * FRAME_SKIP) * 2 - 1
        cached = partial(model.rollout, z, actions, past_actions=past)
        prefix = partial(uncached, model, z, actions, past, CONTEXT + HORIZON)
        window = partial(uncached, model, z, actions, past, model.history)
        difference = float((cached() - prefix()).abs().max() / cached().abs().max())
        assert difference < 1e-5, (
            f"{config.kind}: kept keys and values change the numbers by {difference:.1e}"
        )
        spent = interleave({"cached": cached, "prefix": prefix, "window": window}, rounds=rounds)
        rows.append(
            [
                f"{config.kind} {config.depth} x {config.width}, {grid.tokens}",
                samples,
                milliseconds(spent["cached"]),
                ratio(spent["prefix"], spent["cached"]),
                ratio(spent["window"], spent["cached"]),
                f"{difference:.1e}",
            ]
        )
    titles = (
        "dynamics, blocks x width, tokens",
        "S",
        "cached, ms",
        "prefix / cached",
        "window / cached",
        "differ by",
    )
    print_table(titles, rows)


class Watched:
    """A cost function that counts its candidates and its own CPU time."""

    def __init__(self, cost: Callable[[Tensor], Tensor]) -> None:
        self.cost, self.candidates, self.seconds = cost, 0, 0.0

    def __call__(self, actions: Tensor) -> Tensor:
        """Return the costs (B, S) of actions (B, S, H, A)."""
        began = time.process_time()
        costs = self.cost(actions)
        self.seconds += time.process_time() - began
        self.candidates += actions.shape[1]
        return costs


def walk(actions: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of a walker, moved by the actions, to a moving target: as ill-conditioned as sums are."""
    return (actions.cumsum(dim=-2) - target).square().mean(dim=(-2, -1))


def ripples(actions: Tensor, optimum: Tensor) -> Tensor:
    """Rastrigin's function of the distance to the optimum, in cells of a third of half the range."""
    away = 3 * (actions - optimum)
    return (away.square() + 1 - torch.cos(2 * torch.pi * away)).mean(dim=(-2, -1))


def solvers_of(candidates: int) -> dict[str, Solver]:
    """Return every solver, set to ask for about ``candidates`` costs."""
    cem = partial(CEM, elites=30, min_std=0.01)
    rows = candidates // 10
    return {
        "random": RandomShooting(samples=candidates),
        "cem": cem(samples=rows, iterations=10),
        "icem": ICEM(samples=2 * rows, iterations=10, elites=30, min_std=0.01),  # fewer each round
        "mppi": MPPI(samples=rows, iterations=10, min_std=0.01),
        "gradient": Gradient(restarts=candidates // 50, iterations=50),
        "cem-gradient": Refine(
            cem=cem(samples=rows, iterations=5), gradient=Gradient(restarts=candidates // 100, iterations=50)
        ),
    }


def solver_table(rounds: int) -> None:
    """Print overhead, and cost after about the same number of candidates."""
    horizon, size, problems = 10, 4, 20
    generator = torch.Generator().manual_seed(0)
    # Both optima can be reached: they are actions inside the bounds, or the path of such actions.
    optimum = torch.rand(problems, 1, horizon, size, generator=generator) * 1.6 - 0.8
    costs = {
        "walk": partial(walk, target=optimum.cumsum(dim=-2)),
        "ripples": partial(ripples, optimum=optimum),
    }
    say(
        f"Solvers: horizon {horizon}, {size} numbers per action, {problems} problems at once; medians over {rounds} "
        "seeds, of the cost over problems too; CPU ms per problem.\n"
    )
    rows = []
    for name, solver in solvers_of(CANDIDATES).items():
        for problem, cost in costs.items():
            spent, shares, found = [], [], []
            for seed in range(-1, rounds):  # the first is not counted
                watched = Watched(cost)
                noise = torch.Generator().manual_seed(abs(seed))
                began = time.process_time()
                plan = solver.solve(
                    watched,
                    horizon=horizon,
                    action_space=BoxSpace(-torch.ones(size), torch.ones(size)),
                    batch=problems,
                    generator=noise,
                )
                took = time.process_time() - began
                if seed >= 0:
                    spent.append(took)
                    shares.append(1 - watched.seconds / took)
                    found.append(float(plan.cost.median()))
            rows.append(
                [
                    name,
                    problem,
                    watched.candidates,
                    f"{1000 * statistics.median(spent) / problems:.2f}",
                    f"{statistics.median(shares):.0%}",
                    f"{statistics.median(found):.4f}",
                ]
            )
    print_table(("solver", "problem", "candidates", "CPU ms", "of it not the cost function's", "cost"), rows)


class Decider:
    """Decisions for the first n environments, each from pixels to an action."""

    def __init__(self, dynamics: DynamicsConfig, solver: Solver, frames: FramesConfig, pixels: int) -> None:
        model = random_model(dynamics, build_frames(frames, resolution=pixels), resolution=pixels)
        space = BoxSpace(-torch.ones(ACTION), torch.ones(ACTION))
        self.policy = MPC(model, solver, GoalDistance(), horizon=HORIZON, action_space=space)
        draw = np.random.default_rng(0)
        self.seen, self.goals = draw.integers(0, 256, (2, max(BATCHES), pixels, pixels, 3), dtype=np.uint8)

    def decide(self, first: int, last: int) -> None:
        """Encode goals and frames, search."""
        self.policy.reset(self.goals[first:last])
        self.policy.act({"pixels": self.seen[first:last]})

    def one_by_one(self, count: int) -> None:
        """Decide for one environment after another."""
        for row in range(count):
            self.decide(row, row + 1)


def batch_table(rounds: int) -> None:
    """Print decisions for 1, 8 and 32 environments together, and for some of them one after another."""
    say(f"Batch: decisions for {', '.join(map(str, BATCHES))} environments together, horizon {HORIZON}.\n")
    speed = speed_of_products()
    rows = []
    for name, (dynamics, solver, frames, pixels) in DECISIONS.items():
        decider = Decider(dynamics, solver, frames, pixels)
        runs: dict[str, Callable[[], object]] = {
            str(count): partial(decider.decide, 0, count) for count in BATCHES
        }
        counted = flops(runs["1"])
        runs["8 one by one"] = partial(decider.one_by_one, 8)
        spent = interleave(runs, rounds=rounds)
        one, eight, all_of_them = (spent[str(count)] for count in BATCHES)
        rows.append(
            [
                name,
                *(f"{1000 * times.seconds:.1f}" for times in (one, eight, all_of_them)),
                ratio(eight, one),
                ratio(all_of_them, one),
                cpu_ratio(all_of_them, one),
                f"{BATCHES[-1] * counted / speed / one.seconds:.1f}",
                f"{counted / speed / one.seconds:.0%}",
                ratio(spent["8 one by one"], eight),
            ]
        )
    several = [f"{count}, ms" for count in BATCHES]
    titles = (
        "decision",
        *several,
        "8 / 1",
        "32 / 1",
        "CPU",
        "floor of 32 / 1",
        "arithmetic of 1",
        "8 one by one / 8",
    )
    say(f"Floors at {speed / 1e9:.0f} GFLOP/s.\n")
    print_table(titles, rows)


TABLES = {"rollout": rollout_table, "solvers": solver_table, "batch": batch_table}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    print_header(arguments)
    for name in arguments.tables:
        TABLES[name](arguments.rounds)


if __name__ == "__main__":
    main()
