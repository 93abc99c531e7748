"""From the config of a head to the head."""

from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from jepa.config.heads import Head
from jepa.probes.attentive import AttentiveProbe
from jepa.probes.features import TOKENS
from jepa.probes.knn import KnnProbe
from jepa.probes.linear import LinearProbe
from jepa.probes.metrics import Task
from jepa.probes.mlp import MlpProbe
from jepa.probes.rows import Rows


class Probe(Protocol):
    """What all heads can do, in scikit-learn's words."""

    chosen: dict[str, float]
    """The settings that the validation part chose."""
    trials: list[dict[str, float]]
    """Every setting that was tried, with its score and loss on the validation part."""
    classes: tuple[int, ...]
    """Labels as given to fit, in the order of the columns of ``predict_proba``."""

    def fit(self, features: Rows, labels: Tensor, groups: Any = None, *, validation: Any = None) -> Self:
        """Choose settings on the validation part, and fit."""
        ...

    def predict(self, features: Rows) -> Tensor:
        """Return labels (n,), 0 and 1 (n, C), or numbers (n, K)."""
        ...

    def predict_proba(self, features: Rows) -> Tensor:
        """Return probabilities, (n, C)."""
        ...

    def score(self, features: Rows, labels: Tensor) -> float:
        """Return accuracy, mAP or R2."""
        ...


BUILDERS: dict[str, Callable[..., Any]] = {
    "linear": LinearProbe,
    "mlp": MlpProbe,
    "attentive": AttentiveProbe,
    "knn": KnnProbe,
}
TRAINED = ("mlp", "attentive")  # by gradient steps, on any device


def build_head(
    config: Head,
    task: Task,
    *,
    seed: int = 0,
    dtype: str = "float32",
    device: torch.device | str = "cpu",
) -> Probe:
    """Build the head that ``config`` describes, to be fitted."""
    settings = config.model_dump(exclude={"kind"})
    if config.kind in TRAINED:
        settings |= {"dtype": dtype, "device": device}
    if config.kind != "knn":
        settings |= {"seed": seed}
    return BUILDERS[config.kind](task=task, **settings)


def feature_kind(config: Head, pooling: str) -> str:
    """Return which features the head reads: tokens, or those of ``pooling``."""
    return TOKENS if config.kind == "attentive" else pooling


def head_name(config: Head) -> str:
    """Return what the head is called in tables."""
    if config.kind == "attentive":
        return f"attentive, {config.blocks}+1 blocks" if config.blocks else "attentive"
    return "k-NN" if config.kind == "knn" else "MLP" if config.kind == "mlp" else config.kind
