"""`jepa show`: what a config, a run or a file of weights is; of pre-training, also what a step costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jepa.config.hardware import parse_hardware
from jepa.config.load import dump, load_config, read_tree
from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.errors import ConfigError
from jepa.models.cost import NumberBytes, count_parameters
from jepa.models.formats import formats
from jepa.objectives import build
from jepa.programs.estimate import MFU, estimate, gib
from jepa.programs.estimate_report import ShownEstimate, listed
from jepa.programs.show_config import ShownConfig, schema_of, show_config
from jepa.programs.show_weights import ShownWeights, show_weights
from jepa.programs.step_cost import StepCost, step_cost
from jepa.runtime.checkpoint import list_checkpoints

WEIGHTS = (
    ".pt",
    ".pth",
    ".tar",
    ".safetensors",
    ".bin",
    ".ckpt",
    ".json",
    ".onnx",
    ".pt2",
)  # endings of files


@dataclass(frozen=True)
class Shown:
    """What `jepa show` prints."""

    config: PretrainConfig
    trained_parameters: int
    frozen_parameters: int
    weights_bytes: int
    """Weights, gradients and the optimizer's two moments, in float32."""
    steps: tuple[StepCost, ...]
    finished_step: int | None
    """Step of the newest checkpoint, for a run."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        rest = {
            name: getattr(self, name)
            for name in ("trained_parameters", "frozen_parameters", "weights_bytes", "finished_step")
        }
        return {
            "config": self.config.model_dump(mode="json"),
            **rest,
            "steps": [
                {
                    "modality": step.modality,
                    "tokens": step.tokens,
                    "context_tokens": list(step.context_tokens),
                    "target_tokens": list(step.target_tokens),
                    "flops": self.config.data.batch_size * step.model_flops,
                    "activations_bytes": self.activations(step),
                }
                for step in self.steps
            ],
        }

    def activations(self, step: StepCost) -> int:
        """Return the bytes that the forward pass of a micro-batch keeps for the backward pass, on a GPU."""
        number = NumberBytes.of(self.config.dtype, gpu=True)
        return step.kept(number, self.config.data.batch_size // self.config.optim.accumulate)

    def render(self) -> str:
        """Return the resolved config and the costs as text."""
        lines, batch = [dump(self.config).rstrip(), ""], self.config.data.batch_size
        if self.finished_step is not None:
            lines.append(f"checkpoint      step {self.finished_step:,} of {self.config.optim.steps:,}")
        lines.append(
            f"parameters      {self.trained_parameters:,} trained, {self.frozen_parameters:,} frozen (EMA target)"
        )
        lines.append(f"weights         {gib(self.weights_bytes)} with gradients and optimizer")
        for step in self.steps:
            context, target = listed(step.context_tokens), listed(step.target_tokens)
            lines += [
                f"{step.modality} clip      {step.tokens:,} tokens; context {context}; target {target}",
                f"{step.modality} step      {batch * step.model_flops:.3g} FLOPs at batch {batch}",
                f"{step.modality} memory    about {gib(self.activations(step))} of activations (estimate)",
            ]
        return "\n".join(lines)


def show(
    source: str, overrides: Sequence[str] = (), *, hardware: str | None = None, mfu: float = MFU
) -> Shown | ShownConfig | ShownWeights | ShownEstimate:
    """Describe a config, a run directory, or weights of any format. No file of the data is opened.

    With ``hardware``, NAME:COUNT, estimate what pre-training takes on it instead, matrix products running at the
    share ``mfu`` of its peak.
    Raises ConfigError for a config that is wrong or not there, CheckpointError for weights that cannot be read.
    """
    path = Path(source)
    is_run = path.is_dir() and (path / "config.yaml").is_file()
    if not is_run and not is_config(path, source):
        if overrides:
            raise ConfigError(
                f"--set {overrides[0]} changes a config, but {source} holds weights; leave it out"
            )
        refuse_estimate(hardware, f"{source} holds weights")
        return show_weights(source)
    file = path / "config.yaml" if is_run else path
    schema = schema_of(read_tree(file))
    if schema is not PretrainConfig:
        # The size of a world model is only known once it has met its data: how many numbers an action has.
        refuse_estimate(hardware, f"{source} is a config of another program")
        return show_config(load_config(file, overrides, schema=schema), path if is_run else None)
    config = load_config(file, overrides)
    if hardware is not None:
        return ShownEstimate(estimate(config, parse_hardware(hardware), mfu))
    return show_pretraining(config, path if is_run else None)


def refuse_estimate(hardware: str | None, why: str) -> None:
    """Raise ConfigError where an estimate is asked for of what is not pre-training."""
    if hardware is not None:
        raise ConfigError(f"--hardware {hardware} estimates pre-training, but {why}; leave it out")


def is_config(path: Path, text: str) -> bool:
    """Whether this names a config rather than weights: a YAML file, or the stem of one."""
    is_stem = not path.exists() and path.suffix not in WEIGHTS and text.partition(":")[0] not in formats()
    return path.suffix in (".yaml", ".yml") or is_stem


def show_pretraining(config: PretrainConfig, run: Path | None = None) -> Shown:
    """Describe pre-training, and how far its run directory has got."""
    found = list_checkpoints(run) if run else []
    with torch.device("meta"):
        parameters = count_parameters(build(config))
    there: dict[Modality, bool] = {"video": config.data.has_video, "image": config.data.has_images}
    modalities = [modality for modality, is_there in there.items() if is_there]
    return Shown(
        config=config,
        trained_parameters=parameters.trained,
        frozen_parameters=parameters.frozen,
        weights_bytes=4 * (4 * parameters.trained + parameters.frozen),
        steps=tuple(step_cost(config, modality) for modality in modalities),
        finished_step=found[-1][0] if found else None,
    )
