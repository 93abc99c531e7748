"""Judge a world model of ours by somebody else: stable-worldmodel's solver, World, Two-Room and rule of success.

    python examples/stable_worldmodel_judge.py RUN HELD_OUT_EPISODES

RUN is a run directory of `jepa world-model`, trained on episodes of stable_worldmodel_collect.py; the held-out episodes
come from the same script with another seed. The defaults are the protocol of LeWM's tables: 50 goals that a recorded
episode reaches 25 steps after the start, 50 steps to get there, CEM 300 x 30 with 30 elites over 5 blocks of 5 actions,
which are all played before the next plan. Two things differ: the episodes were kept from training, and the images have
the size at which they were recorded. A goal counts as reached when the environment says so at any step (16 pixels of
224 away), and some starts lie that near: read the row of the random policy first. Prints one line of JSON; each group
of goals has [reached, tried]. Needs stable-worldmodel 0.1.1, in an environment of its own: examples/README.md.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import stable_worldmodel as swm
from stable_worldmodel.data import ZScoreScaler
from stable_worldmodel.envs.two_room.expert_policy import ExpertPolicy
from stable_worldmodel.policy import PlanConfig, RandomPolicy, WorldModelPolicy
from stable_worldmodel_adapters import Cost, RecordedEpisodes, TimedCEM

import jepa
from jepa.config.trajectories import StoreSource
from jepa.data.trajectories.store import open_store
from jepa.types import Trajectory

REACHED_PX, WALL_X = 16, 112  # of their Two-Room, which is 224 pixels wide
SETTERS = [
    {"method": method, "args": {argument: {"value": argument}}}
    for method, argument in (("_set_state", "state"), ("_set_goal_state", "goal_state"))
]
NUMBERS = {"goals": 50, "ahead": 25, "budget": 50, "samples": 300, "iterations": 30, "elites": 30}
NUMBERS |= {"horizon": 5, "replan-every": 5, "batch-size": 1, "seed": 42}


def planner(args: argparse.Namespace, episodes: Sequence[Trajectory]) -> WorldModelPolicy:
    """Return their policy and their solver over our world model."""
    world_model = jepa.load_world_model(args.run, device=args.device)
    scaler = ZScoreScaler().fit(np.concatenate([episode.actions for episode in episodes]))
    solver = TimedCEM(
        Cost(world_model, scaler, low=-1, high=1, learned=args.cost == "value"),
        batch_size=args.batch_size,
        num_samples=args.samples,
        n_steps=args.iterations,
        topk=args.elites,
        device=args.device,
        seed=args.seed,
    )
    plan = PlanConfig(args.horizon, args.replan_every, action_block=world_model.frame_skip)
    return WorldModelPolicy(solver, plan, process={"action": scaler})


def judge(args: argparse.Namespace) -> dict[str, Any]:
    """Let their World try the planner, a random policy and their expert on the same goals."""
    episodes = open_store(StoreSource(kind="store", path=args.episodes)).episodes
    data = RecordedEpisodes(episodes)
    goals = data.draw(args.goals, ahead=args.ahead, seed=args.seed)
    here, there = (np.array([episodes[k].states[t + after] for k, t in goals]) for after in (0, args.ahead))
    groups = {
        "all": np.full(args.goals, True),
        "not yet there": np.linalg.norm(there - here, axis=1) >= REACHED_PX,
        "other room": (here[:, 0] < WALL_X) != (there[:, 0] < WALL_X),
    }
    image = episodes[0].frames[np.zeros(1, dtype=np.int64)].shape[1:3]
    world = swm.World("swm/TwoRoom-v1", args.goals, image, max_episode_steps=2 * args.budget)
    rows, ours = {}, planner(args, episodes)
    policies = {"planner": ours, "random": RandomPolicy(args.seed), "expert": ExpertPolicy()}
    for name, policy in policies.items():
        world.set_policy(policy)
        start = time.perf_counter()
        reached = world.evaluate(
            dataset=data,
            episodes_idx=goals[:, 0].tolist(),
            start_steps=goals[:, 1].tolist(),
            goal_offset=args.ahead,
            eval_budget=args.budget,
            callables=SETTERS,
        )["episode_successes"]
        rows[name] = {group: [int(reached[which].sum()), int(which.sum())] for group, which in groups.items()}
        rows[name]["seconds"] = round(time.perf_counter() - start, 1)
    rows["planner"]["seconds per decision"] = round(ours.solver.seconds / ours.solver.decisions, 3)
    return {"judge": f"stable-worldmodel {version('stable-worldmodel')}", **vars(args), "reached": rows}


def main() -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run")
    parser.add_argument("episodes")
    parser.add_argument("--cost", choices=("latent", "value"), default="latent")
    for name, default in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    with contextlib.redirect_stdout(sys.stderr):  # their solver prints its times
        result = judge(parser.parse_args())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
