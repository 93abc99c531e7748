"""A frozen encoder in a planner: our own pretrained one, or one of timm, sees; a small world model learns to act.

python examples/frozen_encoder.py --encoder runs/first                                  # a run of `jepa pretrain`
python examples/frozen_encoder.py --encoder timm:vit_small_patch16_dinov3.lvd1689m      # downloads its weights
python examples/frozen_encoder.py --encoder timm:vit_tiny_patch16_224@weights.safetensors

Records Two-Room, trains dynamics and a distance in time on the encoder's patch tokens, none of whose weights move, and
lets a planner seek goals behind the door. Prints the success table; everything lies in --dir.
"""

import argparse
from pathlib import Path

import jepa
from jepa.config.envs import CollectConfig
from jepa.config.load import parse
from jepa.config.plan import PlanConfig
from jepa.config.world_model import WorldModelConfig
from jepa.programs.collect import collect


def world_model_config(
    encoder: str, folder: Path, *, resolution: int, steps: int, value_steps: int
) -> WorldModelConfig:
    """DINO-WM's recipe in small: a transformer over patch tokens, each beside an embedding of the action."""
    values = {
        "run_dir": str(folder / "world-model"),
        "data": {
            "sources": [{"kind": "store", "path": str(folder / "episodes")}],
            "resolution": resolution,
            "window": 4,
            "batch_size": 32,
        },
        "frames": {"kind": "frozen", "source": encoder},
        "dynamics": {"kind": "concat", "depth": 2, "width": 128, "heads": 4, "history": 1},
        "objective": {"kind": "ac", "loss": "l2", "rollout_steps": 3},
        "value": {"pool": False, "steps": value_steps},
        "horizon": 6,
        "optim": {"steps": steps, "learning_rate": 5e-4, "warmup_steps": steps // 10, "clip_grad": 1.0},
        "log": {"every_steps": 50},
    }
    return parse(values, WorldModelConfig)


def plan_config(folder: Path, *, size: int, episodes: int) -> PlanConfig:
    """Every goal lies in the other room."""
    planner = {
        "name": "CEM",
        "solver": {"kind": "cem", "samples": 48, "iterations": 2, "elites": 6},
        "costs": [{"kind": "value", "steps": "all"}],
        "horizon": 6,
        "replan_every": 6,
    }
    values = {
        "run_dir": str(folder / "plan"),
        "model": str(folder / "world-model"),
        "env": {"kind": "two-room", "size": size},
        "planners": [planner],
        "baselines": ["random", "simulator"],
        "episodes": episodes,
    }
    return parse(values, PlanConfig)


def main() -> None:
    """Collect, train, plan."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--encoder", required=True, help="a run, a checkpoint, or timm:NAME[@FILE]")
    arguments.add_argument("--dir", type=Path, default=Path("frozen-encoder"), help="where everything goes")
    arguments.add_argument("--size", type=int, default=32, help="pixels; a multiple of the encoder's patch")
    arguments.add_argument("--recordings", type=int, default=300, help="episodes to learn from")
    arguments.add_argument("--steps", type=int, default=800, help="training steps of the dynamics")
    arguments.add_argument("--value-steps", type=int, default=3000, help="those of the distance in time")
    arguments.add_argument("--episodes", type=int, default=30, help="episodes to play")
    given = arguments.parse_args()
    env = {"kind": "two-room", "size": given.size}
    collect(CollectConfig(env=env, path=str(given.dir / "episodes"), episodes=given.recordings))
    config = world_model_config(
        given.encoder, given.dir, resolution=given.size, steps=given.steps, value_steps=given.value_steps
    )
    jepa.train_world_model(config)
    jepa.plan(plan_config(given.dir, size=given.size, episodes=given.episodes))


if __name__ == "__main__":
    main()
