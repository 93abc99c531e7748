"""Which solver reaches the cost of V-JEPA 2-AC's 800 x 10 search, and in which part of its time?

    python -m benchmarks.planning_curve [--peer PATH to a clone of facebookresearch/vjepa2]

A hand moves in a cube as that of V-JEPA 2-AC does (`jepa.models.poses`); it is drawn from two sides, encoded by frozen
random weights, and a small predictor of the released shape learns from random walks for a minute, with the package's
objective. The energy is the released one: the l1 distance of the last imagined frame to the goal. The goal of a problem
is where random actions led, ``HORIZON`` steps away. Every solver searches the same problems.

First decision: nobody has a plan. Second decision: one action of the released plan was executed; the release plans
anew, as its notebook does, and ours start from the rest of that plan. Costs are those of the answers, by our model,
whose equality with the released one is checked first. Without a peer, our search with the released settings stands for
it. Costs and seconds are divided problem by problem.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.drawn_hand import DrawnHand, followed, problem, trained_model
from benchmarks.pairs import Ratio, options, print_header, print_table, say
from benchmarks.peers import add_peer
from benchmarks.released_planner import (
    Released,
    Size,
    Task,
    our_noise,
    released_search,
    search_space,
)
from jepa.models.world_model import LatentWorldModel
from jepa.planning import CEM, ICEM, Gradient, Refine, Solver
from jepa.planning.search import shifted

SIZE_OF_MODEL = Size(depth=2, width=64, side=4, dim=32)
HORIZON, STEPS = 4, 600  # model steps of a plan; updates of the training
SAMPLES, ROUNDS = 800, 10  # arXiv:2506.09985, section 4.2
FRESH = 100  # number of the first problem: the solvers' settings were chosen on those from 0 to 7
CLOSE = 1.01  # a cost that is higher by less is reached

SEARCH = {"elites": 10, "initial_std": 1.0, "min_std": 0.01}


def refine(samples: int, restarts: int, steps: int, *, std: float = 1.0) -> Refine:
    """Return two rounds of CEM, and gradient steps from its best candidates."""
    search = CEM(samples=samples, iterations=2, elites=8, initial_std=std)
    return Refine(cem=search, gradient=Gradient(restarts=restarts, iterations=steps))


FIRST: dict[str, Solver] = {
    "its settings, 800 x 10": released_search(SAMPLES, ROUNDS),
    "its settings, 200 x 5": released_search(200, 5),
    "cem, 200 x 5": CEM(samples=200, iterations=5, elites=10, initial_std=1.0, min_std=0.01),
    "icem, 200 x 5": ICEM(samples=200, iterations=5, noise_beta=0.5, **SEARCH),
    "icem, 300 x 10": ICEM(samples=300, iterations=10, noise_beta=0.5, **SEARCH),
    "gradient, 4 x 20": Gradient(restarts=4, iterations=20),
    "gradient, 16 x 20": Gradient(restarts=16, iterations=20),
    "gradient, 16 x 50": Gradient(restarts=16, iterations=50),
    "cem-gradient, 64 x 2 + 4 x 15": refine(64, 4, 15),
    "cem-gradient, 100 x 2 + 8 x 20": refine(100, 8, 20),
}
AGAIN: dict[str, Solver] = {
    "its settings, 800 x 10": released_search(SAMPLES, ROUNDS),
    "icem, 100 x 3": ICEM(samples=100, iterations=3, noise_beta=0.5, **SEARCH | {"initial_std": 0.3}),
    "icem, 200 x 5": ICEM(samples=200, iterations=5, noise_beta=0.5, **SEARCH | {"initial_std": 0.3}),
    "gradient, 1 x 10": Gradient(restarts=1, iterations=10),
    "gradient, 4 x 20": Gradient(restarts=4, iterations=20),
    "cem-gradient, 64 x 2 + 4 x 10": refine(64, 4, 10, std=0.5),
    "cem-gradient, 100 x 2 + 8 x 20": refine(100, 8, 20, std=0.5),
}
REFERENCE = "released, 800 x 10"


@dataclass(frozen=True)
class Found:
    """One answer: what it costs, and the seconds it took."""

    cost: float
    seconds: float


def timed_plan(search: Callable[[], Tensor], cost: Callable[[Tensor], Tensor]) -> tuple[Tensor, Found]:
    """Return a plan, (H, 7), with its cost and its time."""
    began = time.perf_counter()
    plan = search()
    seconds = time.perf_counter() - began
    with torch.no_grad():
        return plan, Found(float(cost(plan[None, None])), seconds)


def our_plan(solver: Solver, cost: Callable[[Tensor], Tensor], start: Tensor | None, seed: int) -> Tensor:
    """Return the plan of one of our solvers, (H, 7)."""
    found = solver.solve(
        cost,
        horizon=HORIZON,
        action_space=search_space(),
        warm_start=None if start is None else start[None],
        generator=torch.Generator().manual_seed(seed),
    )
    return found.actions[0]


def reference_plan(released: Released | None, model: LatentWorldModel, task: Task, number: int) -> Tensor:
    """Return the plan of the released search, or of ours with its settings where it is not at hand, (H, 7)."""
    if released is None:
        return our_plan(released_search(SAMPLES, ROUNDS), task.cost(model), None, 100 + number)
    torch.manual_seed(number)
    return released.decide(task, horizon=HORIZON, samples=SAMPLES, rounds=ROUNDS)


def check(released: Released, model: LatentWorldModel, task: Task) -> None:
    """Fail where the two choose other plans on the same noise."""
    sizes = {"horizon": HORIZON, "samples": 64, "rounds": 2}
    theirs = released.decide_on(our_noise(3, **sizes), task, **sizes)
    ours = our_plan(released_search(64, 2), task.cost(model), None, 3)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def after(hand: DrawnHand, task: Task, plan: Tensor) -> Task:
    """Execute the first action of a plan, (H, 7), and look again."""
    pose = followed(task.poses[:, -1], plan[None, :1])[:, -1:]  # (1, 1, 7)
    return Task(hand.encode(pose), task.past, pose, task.goal)


def race(
    solvers: dict[str, Solver],
    reference: Callable[[Task, int], Tensor],
    model: LatentWorldModel,
    tasks: list[Task],
    starts: list[Tensor] | None,
) -> tuple[dict[str, list[Found]], list[Tensor]]:
    """Let all solvers search every problem, turn by turn; return what they found, and the released plans."""
    found: dict[str, list[Found]] = {name: [] for name in (REFERENCE, *solvers)}
    plans: list[Tensor] = []
    for number, task in enumerate(tasks):
        cost, start = task.cost(model), None if starts is None else starts[number]
        for name in list(found) if number % 2 else list(found)[::-1]:
            if name == REFERENCE:
                plan, answer = timed_plan(partial(reference, task, number), cost)
                plans.append(plan)
            else:
                _, answer = timed_plan(partial(our_plan, solvers[name], cost, start, number), cost)
            found[name].append(answer)
    return found, plans


def print_race(found: dict[str, list[Found]]) -> None:
    """Print every solver's cost and seconds, and both beside the released search's."""
    rows = []
    known = found[REFERENCE]
    for name, answers in found.items():
        cost, seconds = ([getattr(one, what) for one in answers] for what in ("cost", "seconds"))
        costs = Ratio.of(cost, [one.cost for one in known])
        part = Ratio.of(seconds, [one.seconds for one in known])
        near = sum(mine <= CLOSE * theirs.cost for mine, theirs in zip(cost, known, strict=True))
        rows.append(
            (
                name,
                f"{statistics.median(cost):.4f}",
                f"{costs.median:.3f} ({costs.least:.3f}-{costs.most:.3f})",
            )
            + (f"{near} of {len(cost)}", f"{statistics.median(seconds):.2f}")
            + (f"{part.median:.3f} ({part.least:.3f}-{part.most:.3f})",)
        )
    print_table(("solver", "cost", "/ released", f"within {CLOSE - 1:.0%}", "s", "of its time"), rows)


def main() -> None:
    """Train, check, race twice."""
    parser = options(__doc__)
    add_peer(parser, "facebookresearch/vjepa2")
    parser.add_argument("--problems", type=int, default=8)
    arguments = parser.parse_args()
    print_header(arguments)
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Train the world model, and print both tables."""
    hand = DrawnHand(SIZE_OF_MODEL)
    began = time.perf_counter()
    model, loss = trained_model(hand, SIZE_OF_MODEL, horizon=HORIZON, steps=STEPS)
    tasks = [problem(hand, FRESH + number, horizon=HORIZON)[0] for number in range(arguments.problems)]
    still = statistics.median(float((task.z[:, -1] - task.goal).abs().mean()) for task in tasks)
    say(
        f"Predictor {SIZE_OF_MODEL} numbers, trained for {STEPS} steps ({time.perf_counter() - began:.0f} s): l1 over "
        f"{HORIZON} imagined steps {loss:.3f}; from start to goal {still:.3f}. Horizon {HORIZON}, medians over "
        f"{arguments.problems} problems.\n"
    )
    released = None
    if arguments.peer is not None:
        released = Released(arguments.peer, model, SIZE_OF_MODEL)
        check(released, model, tasks[0])
    for solver in (FIRST | AGAIN).values():  # what is computed once
        our_plan(solver, tasks[0].cost(model), None, 0)

    def reference(task: Task, number: int) -> Tensor:
        return reference_plan(released, model, task, number)

    found, plans = race(FIRST, reference, model, tasks, None)
    say("First decision:\n")
    print_race(found)
    later = [after(hand, task, plan) for task, plan in zip(tasks, plans, strict=True)]
    starts = [shifted(plan[None], 1)[0] for plan in plans]
    found, _ = race(AGAIN, reference, model, later, starts)
    say("Second decision; ours start from the rest of the first plan:\n")
    print_race(found)


if __name__ == "__main__":
    main()
