"""A frozen encoder in a planner: our own pretrained one, or one of timm, sees; a small world model learns to act.

python examples/frozen_encoder.py --encoder jepa-demo/run-seed0   # of `jepa demo`; or any run of `jepa pretrain`
python examples/frozen_encoder.py --encoder timm:vit_small_patch16_dinov3.lvd1689m   # downloads its weights
python examples/frozen_encoder.py --encoder timm:vit_tiny_patch16_224@weights.safetensors

Records Two-Room, encodes every frame once, learns dynamics and a distance in time on the principal components of the
patch tokens, and lets a planner seek goals behind the door. Prints the success table; everything lies in --dir.
"""

import argparse
from pathlib import Path

import jepa
from jepa.config.envs import CollectConfig
from jepa.config.load import parse
from jepa.config.plan import PlanConfig
from jepa.config.world_model import WorldModelConfig
from jepa.programs.collect import collect

PATCHES = 4  # along each side of a picture, where --size is not given


def world_model_config(given: argparse.Namespace, size: int) -> WorldModelConfig:
    """Tokens tell a place by which patch the disc is in and how it looks there; components make one vector of them."""
    values = {
        "run_dir": str(given.dir / "world-model"),
        "seed": given.seed,
        "data": {
            "sources": [{"kind": "store", "path": str(given.dir / "episodes")}],
            "resolution": size,
            "window": 9,
            "batch_size": 64,
        },
        "frames": {
            "kind": "frozen",
            "source": given.encoder,
            "normalise": False,
            "components": given.components,
        },
        "dynamics": {"kind": "mlp", "width": 512, "depth": 2},
        "objective": {"kind": "ac", "loss": "l2", "rollout_steps": 8},
        "value": {"steps": given.value_steps},
        "optim": {
            "steps": given.steps,
            "learning_rate": 1e-3,
            "warmup_steps": given.steps // 50,
            "final_learning_rate": 2e-5,
            "weight_decay": 1e-3,
            "clip_grad": 1.0,
        },
        "log": {"every_steps": 100},
    }
    return parse(values, WorldModelConfig)


def plan_config(given: argparse.Namespace, size: int) -> PlanConfig:
    """Every goal lies in the other room; behaviour cloning learns from the same episodes, in the same latents."""
    planner = {
        "name": "CEM",
        "solver": {"kind": "cem", "samples": 64, "iterations": 3, "elites": 8},
        "costs": [{"kind": "value", "steps": "all"}],
        "horizon": 2,  # the distance tells the way; dynamics between tokens are not exact enough to look far ahead
        "replan_every": 1,
    }
    values = {
        "run_dir": str(given.dir / "plan"),
        "model": str(given.dir / "world-model"),
        "env": {"kind": "two-room", "size": size},
        "planners": [planner],
        "cloning_steps": given.cloning_steps,
        "episodes": given.episodes,
        "seeds": [given.seed],
    }
    return parse(values, PlanConfig)


def main() -> None:
    """Collect, train, plan."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--encoder", required=True, help="a run, a checkpoint, or timm:NAME[@FILE]")
    arguments.add_argument("--dir", type=Path, default=Path("frozen-encoder"), help="where everything goes")
    arguments.add_argument("--size", type=int, help="pixels; by default four of the encoder's patches")
    arguments.add_argument("--recordings", type=int, default=600, help="episodes to learn from")
    arguments.add_argument("--components", type=int, default=128, help="numbers per frame that are kept")
    arguments.add_argument("--steps", type=int, default=6000, help="training steps of the dynamics")
    arguments.add_argument("--value-steps", type=int, default=4000, help="those of the distance in time")
    arguments.add_argument("--cloning-steps", type=int, default=5000, help="those of behaviour cloning")
    arguments.add_argument("--episodes", type=int, default=200, help="episodes to play")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    size = given.size or PATCHES * jepa.load_encoder(given.encoder, device="cpu").patch
    env = {"kind": "two-room", "size": size}
    collect(CollectConfig(env=env, path=str(given.dir / "episodes"), episodes=given.recordings))
    jepa.train_world_model(world_model_config(given, size))
    jepa.plan(plan_config(given, size))


if __name__ == "__main__":
    main()
