"""Real world models, tiny: 16 x 16 pixels, windows of 6 frames, 2 environment steps of 2 numbers per action."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jepa.config.world_model import WorldModelConfig
from jepa.models.world_model import build_world_model
from jepa.objectives import build
from jepa.objectives.dynamics import DynamicsObjective, build_objective
from jepa.runtime.checkpoint import save_checkpoint
from jepa.types import Windows
from tests.conftest import tiny_config

MEAN, STD = [0.2, -0.1], [0.5, 2.0]  # of an environment step's action
STEPS = 3  # of the rollout

TRANSFORMER = {"depth": 2, "width": 24, "heads": 4, "history": 2}
CONV = {"kind": "conv", "width": 4, "dim": 6}
OBJECTIVES = {
    "ac": {"kind": "ac", "rollout_steps": STEPS, "rollout_weight": 0.7},
    "lewm": {
        "kind": "lewm",
        "projections": 8,
        "sigreg_weight": 0.09,
        "rollout_steps": STEPS,
        "rollout_weight": 0.7,
        "inverse_weight": 0.3,
    },
    "pldm": {
        "kind": "pldm",
        "rollout_steps": STEPS,
        "rollout_weight": 0.7,
        "variance_weight": 1.1,
        "covariance_weight": 1.3,
        "time_weight": 0.4,
        "inverse_weight": 0.3,
    },
}
DYNAMICS = {
    "ac": {"kind": "tokens", **TRANSFORMER},
    "lewm": {"kind": "adaln", **TRANSFORMER, "dropout": 0.0},
    "pldm": {"kind": "mlp", "width": 16},
}

Make = Callable[..., tuple[DynamicsObjective, Windows]]


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained I-JEPA on patches of 8 pixels."""
    torch.manual_seed(0)
    config = tiny_config("ijepa")
    state = {"step": 0, "program": "pretrain", "config": config.model_dump(mode="json")}
    return save_checkpoint(
        tmp_path_factory.mktemp("frozen"), state | {"objective": build(config).state_dict()}
    )


@pytest.fixture
def make(frozen: Path) -> Make:
    """Build the objective of a kind, its settings changed, and a batch; ac has proprioception."""

    def build_one(kind: str, **changes: object) -> tuple[DynamicsObjective, Windows]:
        torch.manual_seed(0)
        frames = {"kind": "frozen", "source": str(frozen)} if kind == "ac" else CONV
        values = {
            "run_dir": "unused",
            "data": {
                "sources": [{"kind": "store", "path": "unused"}],
                "resolution": 16,
                "frame_skip": 2,
                "window": 6,
            },
            "frames": frames,
            "dynamics": DYNAMICS[kind],
            "objective": OBJECTIVES[kind] | changes,
            "optim": {"steps": 10, "learning_rate": 1e-3},
        }
        config = WorldModelConfig.model_validate(values, strict=False)
        world_model = build_world_model(
            config,
            action_size=2,
            proprio_size=2 if kind == "ac" else 0,
            action_statistics=(MEAN, STD, [-1.0, -4.0], [1.0, 4.0]),
            proprio_statistics=([0.3, 0.4], [0.6, 0.7], [0.0, 0.0], [1.0, 1.0]) if kind == "ac" else None,
        )
        objective = build_objective(config, world_model).train()
        with torch.no_grad():  # AdaLN starts as the identity, which hides half of the model
            for parameter in objective.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return objective, windows(proprio=kind == "ac")

    return build_one


def windows(*, proprio: bool, batch: int = 4) -> Windows:
    """Random frames and actions; proprioception sums up the actions, as V-JEPA 2-AC's does."""
    frames = torch.randint(0, 256, (batch, 6, 3, 16, 16), dtype=torch.uint8)
    actions = torch.randn(batch, 5, 4)
    moved = actions.unflatten(-1, (2, 2)).sum(-2)  # (B, T - 1, P)
    start = torch.randn(batch, 1, 2)
    states = torch.cat([start, start + moved.cumsum(1)], dim=1)
    return Windows(frames, actions, states if proprio else None)
