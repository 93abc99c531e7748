"""An objective with its trained weights, for what needs encoder, target encoder and predictor together."""

from pathlib import Path

from jepa.config.schema import PretrainConfig
from jepa.errors import CheckpointError
from jepa.objectives import Objective, build
from jepa.runtime.checkpoint import find_checkpoint, load_checkpoint
from jepa.runtime.device import resolve_device


def load_objective(source: str | Path, *, device: str = "auto") -> tuple[Objective, PretrainConfig]:
    """Load a frozen objective and the configuration it was trained with.

    ``source`` is a run directory (its newest checkpoint) or a checkpoint file. Raises CheckpointError when it
    holds no objective, or another one than its configuration describes.
    """
    state = load_checkpoint(find_checkpoint(source))
    config = PretrainConfig.model_validate(state["config"], strict=False)
    objective = build(config)
    try:
        objective.load_state_dict(state["objective"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not hold the objective that its config describes: {error}"
        ) from error
    return objective.requires_grad_(False).eval().to(resolve_device(device)), config
