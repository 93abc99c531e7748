"""What planning costs: rollouts with and without kept keys and values, solvers, many environments at once.

    python benchmarks/planning.py [--threads 1 2] [--rounds 5] [--tables rollout solvers batch]

Rollout: S candidates imagine H model steps from T frames of context. Cached is `world_model.rollout`: the context is
computed once for all candidates, and keys and values are kept. Uncached repeats the context for every candidate and
computes, at each step, all frames so far (prefix, as V-JEPA 2-AC's planner does) or the last `history` ones (window, as
DINO-WM and LeWM do). The prefix gives the same numbers, and the largest difference is printed; the window forgets what
the older frames told the newer ones, and is a smaller computation. Pairs are timed turn by turn, in one run.

Solvers: the same number of candidates on two analytic problems whose lowest cost is 0. The overhead is what is left of
the CPU time when that of the cost function is taken away; a gradient's backward pass counts as overhead.

Batch: one decision of `jepa.planning.MPC` for B environments together, beside B decisions one after another.

Wall and CPU time are both printed: on a busy machine, trust ratios within one row.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from jepa.config.world_model import (
    AdaLNDynamics,
    ConcatDynamics,
    ConvFrames,
    DynamicsConfig,
    MlpDynamics,
    TokenDynamics,
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
BATCH = 32

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


class GivenLatents(FrameEncoder):
    """Stands where a frame encoder would; the benchmark starts from latents."""

    def __init__(self, grid: Grid, dim: int) -> None:
        super().__init__()
        self.grid, self.dim = grid, dim

    def forward(self, frames: Tensor) -> Tensor:
        """Return what is given: the benchmark has latents already."""
        return frames


def random_model(dynamics: DynamicsConfig, frames: FrameEncoder) -> LatentWorldModel:
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
    return LatentWorldModel(frames, built, scaling, resolution=32).requires_grad_(False).eval()


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


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Time every run once per round, turn by turn, after one that is not counted."""
    for run in runs.values():
        run()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            spent[name].append(timed(run))
    return spent


def ratios(slow: list[tuple[float, float]], fast: list[tuple[float, float]]) -> str:
    """Return median (min-max) of the ratios of wall times, pair by pair, and the median of CPU times."""
    wall, cpu = ([a[i] / b[i] for a, b in zip(slow, fast, strict=True)] for i in (0, 1))
    return (
        f"{statistics.median(wall):5.2f} ({min(wall):.2f}-{max(wall):.2f}) cpu {statistics.median(cpu):5.2f}"
    )


def median_ms(times: list[tuple[float, float]], which: int) -> float:
    """Return the median of wall (0) or CPU (1) times in milliseconds."""
    return 1000 * statistics.median(one[which] for one in times)


@torch.inference_mode()
def rollout_table(rounds: int) -> None:
    """Print cached beside uncached rollouts."""
    print(f"\nrollout: {CONTEXT} frames of context, horizon {HORIZON}, {rounds} interleaved rounds")
    print(
        f"{'dynamics':>8} {'shape':>16} {'S':>4} {'cached ms':>10} {'cpu ms':>7}   "
        f"{'prefix / cached':32} {'window / cached':32} {'difference':>10}"
    )
    for config, grid, dim, samples in SHAPES:
        model = random_model(config, GivenLatents(grid, dim))
        z = torch.randn(1, CONTEXT, grid.tokens, dim)
        actions = torch.rand(1, samples, HORIZON, ACTION * FRAME_SKIP) * 2 - 1
        past = torch.rand(1, CONTEXT - 1, ACTION * FRAME_SKIP) * 2 - 1
        cached = partial(model.rollout, z, actions, past_actions=past)
        prefix = partial(uncached, model, z, actions, past, CONTEXT + HORIZON)
        window = partial(uncached, model, z, actions, past, model.history)
        difference = float((cached() - prefix()).abs().max() / cached().abs().max())
        spent = compare({"cached": cached, "prefix": prefix, "window": window}, rounds)
        print(
            f"{config.kind:>8} {f'{config.depth} x {config.width}, N {grid.tokens}':>16} {samples:4d} "
            f"{median_ms(spent['cached'], 0):10.1f} {median_ms(spent['cached'], 1):7.1f}   "
            f"{ratios(spent['prefix'], spent['cached']):32} {ratios(spent['window'], spent['cached']):32} "
            f"{difference:10.1e}",
            flush=True,
        )


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
    space = BoxSpace(-torch.ones(size), torch.ones(size))
    print(
        f"\nsolvers: horizon {horizon}, {size} numbers per action, {problems} problems at once; "
        f"medians over {rounds} seeds, of the cost over problems too"
    )
    print(
        f"{'solver':>12} {'problem':>8} {'candidates':>10} {'ms':>6} {'overhead':>8} {'cpu ms':>7} {'cost':>8}"
    )
    for name, solver in solvers_of(CANDIDATES).items():
        for problem, cost in costs.items():
            spent, shares, found = [], [], []
            for seed in range(rounds):
                watched = Watched(cost)
                noise = torch.Generator().manual_seed(seed)
                began = time.perf_counter(), time.process_time()
                plan = solver.solve(
                    watched, horizon=horizon, action_space=space, batch=problems, generator=noise
                )
                spent.append((time.perf_counter() - began[0], time.process_time() - began[1]))
                shares.append(1 - watched.seconds / spent[-1][1])
                found.append(float(plan.cost.median()))
            print(
                f"{name:>12} {problem:>8} {watched.candidates:10d} {median_ms(spent, 0) / problems:6.2f} "
                f"{statistics.median(shares):8.0%} {median_ms(spent, 1) / problems:7.2f} "
                f"{statistics.median(found):8.4f}",
                flush=True,
            )


def batch_table(rounds: int) -> None:
    """Print decisions for many environments together, beside the same one after another."""
    print(
        f"\nbatch: {BATCH} environments at 32 px, conv frames, CEM 64 x 3, horizon {HORIZON}; ms per environment"
    )
    print(f"{'dynamics':>8} {'together':>9} {'one by one':>11}   {'one by one / together'}")
    draw = np.random.default_rng(0)
    pixels, goals = (draw.integers(0, 256, (BATCH, 32, 32, 3), dtype=np.uint8) for _ in range(2))
    for config in (
        MlpDynamics(kind="mlp", width=256),
        AdaLNDynamics(kind="adaln", depth=3, width=128, heads=4),
    ):
        model = random_model(config, build_frames(ConvFrames(kind="conv", width=16), resolution=32))
        policy = MPC(
            model,
            CEM(samples=64, iterations=3, elites=8),
            GoalDistance(),
            horizon=HORIZON,
            action_space=BoxSpace(-torch.ones(ACTION), torch.ones(ACTION)),
        )

        def decide(rows: slice, policy: MPC = policy) -> None:
            policy.reset(goals[rows])
            policy.act({"pixels": pixels[rows]})

        def one_by_one(decide: Callable[[slice], None] = decide) -> None:
            for row in range(BATCH):
                decide(slice(row, row + 1))

        spent = compare({"together": partial(decide, slice(0, BATCH)), "one": one_by_one}, rounds)
        print(
            f"{config.kind:>8} {median_ms(spent['together'], 0) / BATCH:9.2f} "
            f"{median_ms(spent['one'], 0) / BATCH:11.2f}   {ratios(spent['one'], spent['together'])}",
            flush=True,
        )


TABLES = {"rollout": rollout_table, "solvers": solver_table, "batch": batch_table}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f"\n{threads} thread(s), load {os.getloadavg()[0]:.1f}, torch {torch.__version__}", flush=True)
        for name in options.tables:
            TABLES[name](options.rounds)


if __name__ == "__main__":
    main()
