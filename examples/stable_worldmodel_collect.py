"""Record stable-worldmodel's Two-Room, through its own World.collect, into the store that `jepa world-model` reads.

    python examples/stable_worldmodel_collect.py OUT --episodes 1500
    python examples/stable_worldmodel_collect.py HELD_OUT --episodes 200 --seed 1000000

The policy is that of their published data: the expert with so much noise (deviation 2 on a unit direction, cut off at
1) that it takes long ways. Their World records no frame at reset: the first frame is the one after the first action.
Needs stable-worldmodel 0.1.1, in an environment of its own: see examples/README.md.
"""

import argparse
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import stable_worldmodel as swm
from stable_worldmodel.envs.two_room.expert_policy import ExpertPolicy
from stable_worldmodel.policy import RandomPolicy

from jepa.data.trajectories.store import StoreManifest, episode_path, write_episode, write_manifest
from jepa.types import Trajectory


class StoreWriter:
    """Their protocol of a writer, over our store of episodes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def write_episodes(self, episodes: Iterable[dict[str, Any]]) -> None:
        """Write episodes as they are finished; those of a single frame hold no action and are left out."""
        for episode in episodes:
            if len(episode["pixels"]) > 1:
                reached = {"success": bool(episode["terminated"][-1])}
                write_episode(episode_path(self.folder, self.count), self.trajectory(episode), values=reached)
                self.count += 1

    def trajectory(self, episode: dict[str, Any]) -> Trajectory:
        """Return T frames and the T - 1 actions between them; their last action belongs to no pair of frames."""
        states = np.stack(episode["state"]).astype(np.float64)
        return Trajectory(
            name=f"episode-{self.count:06d}",
            frames=np.stack(episode["pixels"]),
            actions=np.stack(episode["action"])[:-1].astype(np.float32),
            rate=10.0,
            proprio=states.astype(np.float32),
            states=states,
        )


def record(out: Path, *, policy: str, episodes: int, steps: int, size: int, seed: int, parallel: int) -> None:
    """Record episodes of at most ``steps`` frames; an episode ends where its expert arrives."""
    environment = {"kind": "gymnasium", "name": "swm/TwoRoom-v1", "size": size}
    versions = {"stable-worldmodel": version("stable-worldmodel")}
    write_manifest(out, StoreManifest(environment, policy, seed, steps, versions=versions))
    world = swm.World("swm/TwoRoom-v1", parallel, (size, size), max_episode_steps=steps)
    noisy = ExpertPolicy(action_noise=2.0, action_repeat_prob=0.05, seed=seed)
    world.set_policy(noisy if policy == "expert" else RandomPolicy(seed))
    world.collect(writer=StoreWriter(out), episodes=episodes, seed=seed)


def main() -> None:
    """Read the command line and record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--policy", choices=("expert", "random"), default="expert")
    for name, default in {"episodes": 1500, "steps": 100, "size": 64, "seed": 0, "parallel": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    record(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
