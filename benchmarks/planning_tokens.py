"""How many seconds does one action of V-JEPA 2-AC's planner take, ours beside the released one?

    python -m benchmarks.planning_tokens [--peer PATH to a clone of facebookresearch/vjepa2]

One decision of the search that the release plans with (`jepa.planning.CEMMean`; notebooks/utils/mpc_utils.py), from
encoded frames to the plan, with random weights and sizes scaled down to a CPU. Both searches get the same weights and
the same noise first, and must choose the same plan, in float64 and in float32; without a peer, the rollout is compared
with one that computes all frames so far again for every candidate and step, as the release does. The release plans
from one frame; for longer contexts its search is given a world model that knows the actions before the plan.

The floor of the released way is the frames that it computes, that of ours the newest frame of every candidate and step;
their ratio is printed beside the measured one. Both are FLOPs over the speed of a large product on this machine now.
Peak memory is what torch's operations hold, weights included.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.memory import PeakMemory
from benchmarks.pairs import (
    cpu_ratio,
    interleave,
    options,
    print_header,
    print_table,
    ratio,
    say,
    speed_of_products,
)
from benchmarks.peers import add_peer
from benchmarks.released_planner import (
    RADIUS,
    Released,
    Size,
    Task,
    build_model,
    our_noise,
    released_search,
    search_space,
)
from jepa.models.poses import SIZE
from jepa.models.world_model import LatentWorldModel

SMALL = Size(depth=4, width=256, side=8, dim=384)
TINY = Size(depth=2, width=128, side=3, dim=24)  # for the check in float64


@dataclass(frozen=True)
class Case:
    """Frames of context and steps ahead, and how many candidates are tried."""

    context: int
    horizon: int
    samples: int
    rounds: int

    def flops(self, size: Size, *, released: bool) -> float:
        """Return the FLOPs of one decision: of every step, all frames so far, or the newest one."""
        frames = range(self.context, self.context + self.horizon)
        step = sum(size.flops(t if released else 1, t) for t in frames)
        return self.samples * self.rounds * step


CASES = (Case(1, 2, 100, 2), Case(1, 4, 100, 1), Case(4, 8, 32, 1))  # the released notebook: 1, 2, 400, 10


def new_task(case: Case, size: Size, device: str) -> Task:
    """Draw latents, actions and poses."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(case.horizon))
    z, goal = draw(1, case.context, size.grid.tokens, size.dim), draw(1, size.grid.tokens, size.dim)
    past, poses = RADIUS * draw(1, case.context - 1, SIZE), 0.3 * draw(1, case.context, SIZE)
    return Task(*(part.to(device) for part in (z, past, poses, goal)))


def our_plan(model: LatentWorldModel, task: Task, case: Case, *, seed: int = 0) -> Tensor:
    """Return the plan of our search, (H, 7)."""
    plan = released_search(case.samples, case.rounds).solve(
        task.cost(model),
        horizon=case.horizon,
        action_space=search_space(task.z.device.type),
        generator=torch.Generator().manual_seed(seed),
    )
    return plan.actions[0]


def plain_rollout(model: LatentWorldModel, task: Task, actions: Tensor) -> Tensor:
    """Imagine by computing all frames so far again at every step: actions (1, S, H, 7) -> (S, N, D), the last frame."""
    samples, horizon = actions.shape[1:3]
    z, poses = (part.expand(samples, *part.shape[1:]) for part in (task.z, task.poses))
    taken = torch.cat((task.past.expand(samples, -1, -1), actions[0]), dim=1)  # (S, T - 1 + H, 7)
    for _ in range(horizon):
        predicted = model.predict(z, taken[:, : z.shape[1]], poses)[:, -1:]
        moved = model.next_proprio(poses[:, -1:], taken[:, z.shape[1] - 1 : z.shape[1]])
        z, poses = torch.cat((z, predicted), dim=1), torch.cat((poses, moved), dim=1)
    return z[:, -1]


@torch.no_grad()
def check_alone(model: LatentWorldModel, task: Task, case: Case) -> float:
    """Return the largest difference of our rollout to the plain one; it must be rounding."""
    actions = torch.rand(1, 2, case.horizon, SIZE, device=task.z.device) * RADIUS
    found = model.rollout(task.z, actions, past_actions=task.past, proprio=task.poses)[0, :, -1]
    wanted = plain_rollout(model, task, actions)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    return float((found - wanted).abs().max())


def check_peer(released: Released, model: LatentWorldModel, task: Task, case: Case) -> float:
    """Return the largest difference of the two plans, in metres; they must be the same."""
    ours = our_plan(model, task, case, seed=1)
    sizes = {"horizon": case.horizon, "samples": case.samples, "rounds": case.rounds}
    noise = [one.to(task.z.device) for one in our_noise(1, **sizes)]
    theirs = released.decide_on(noise, task, **sizes)
    assert theirs.abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    return float((ours - theirs).abs().max())


def check_in_float64(arguments: argparse.Namespace) -> None:
    """Compare plans, or rollouts, of a tiny model where rounding cannot hide a difference."""
    torch.set_default_dtype(torch.float64)
    model = build_model(TINY).requires_grad_(False).to(arguments.device)
    differences = []
    for case in (Case(1, 2, 24, 3), Case(3, 4, 24, 3)):
        task = new_task(case, TINY, arguments.device)
        if arguments.peer is None:
            differences.append(check_alone(model, task, case))
        else:
            differences.append(check_peer(Released(arguments.peer, model, TINY), model, task, case))
    torch.set_default_dtype(torch.float32)
    say(f"float64, {TINY}: largest difference {max(differences):.1e}")


def peak(run: Callable[[], object], model: LatentWorldModel) -> float:
    """Return the largest MiB that one call holds, weights included."""
    with PeakMemory(*model.parameters()) as memory:
        run()
    return memory.largest / 2**20


def measure(case: Case, arguments: argparse.Namespace) -> list[object]:
    """Check one case, time it, and return its row."""
    torch.manual_seed(0)
    device = arguments.device
    model = build_model(SMALL).requires_grad_(False).to(device)
    task = new_task(case, SMALL, device)
    runs: dict[str, Callable[[], object]] = {"ours": partial(our_plan, model, task, case)}
    if arguments.peer is None:
        difference = check_alone(model, task, case)
    else:
        released = Released(arguments.peer, model, SMALL)
        difference = check_peer(released, model, task, case)
        sizes = {"horizon": case.horizon, "samples": case.samples, "rounds": case.rounds}
        runs = {"released": partial(released.decide, task, **sizes)} | runs
    times = interleave(runs, rounds=arguments.rounds, device=device)
    speed = speed_of_products(device=device)
    floors = {name: case.flops(SMALL, released=name == "released") for name in ("released", "ours")}
    shape = f"{case.context}, {case.horizon}, {case.samples} x {case.rounds}"
    row: list[object] = [shape, f"{difference:.0e}", f"{times['ours'].seconds:.2f} s"]
    row += [f"{floors['ours'] / speed:.2f} s", f"{peak(runs['ours'], model):.0f} MiB"]
    if arguments.peer is None:
        return row
    row += [f"{times['released'].seconds:.2f} s", f"{floors['released'] / speed:.2f} s"]
    row += [f"{peak(runs['released'], model):.0f} MiB", f"**{ratio(times['released'], times['ours'])}**"]
    row += [f"{cpu_ratio(times['released'], times['ours']).median:.2f}"]
    return [*row, f"{floors['released'] / floors['ours']:.1f}"]


def main() -> None:
    """Check, measure, print."""
    parser = options(__doc__)
    add_peer(parser, "facebookresearch/vjepa2")
    arguments = parser.parse_args()
    print_header(arguments)
    say(f"Predictor {SMALL} numbers, {SMALL.width // 64} heads; float32.\n")
    check_in_float64(arguments)
    titles = ["context, horizon, candidates x rounds", "difference", "ours", "floor", "peak"]
    if arguments.peer is not None:
        titles += ["released", "floor", "peak", "released / ours", "CPU", "by FLOPs"]
    print_table(titles, [measure(case, arguments) for case in CASES])


if __name__ == "__main__":
    main()
