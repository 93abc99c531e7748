"""`jepa show` of pre-training: what a step costs."""

import json

import pytest
import torch

from jepa.models.cost import count_parameters
from jepa.objectives import build
from jepa.programs.show import show_pretraining
from tests.conftest import tiny_config


def test_parameters_and_costs_are_told_for_people_and_machines() -> None:
    config = tiny_config("joint", data={**tiny_config("joint").data.model_dump(), "resolution": 96})
    shown = show_pretraining(config)
    with torch.device("meta"):
        counted = count_parameters(build(config))
    assert (shown.trained_parameters, shown.frozen_parameters) == (counted.trained, counted.frozen)
    assert shown.weights_bytes == 4 * (4 * counted.trained + counted.frozen)
    numbers = json.loads(json.dumps(shown.to_dict()))
    assert [step["modality"] for step in numbers["steps"]] == ["video", "image"]
    for step, cost in zip(numbers["steps"], shown.steps, strict=True):
        assert step["flops"] == 4 * cost.model_flops
        assert step["activations_bytes"] == shown.activations(cost) > 0
        assert f"{cost.tokens:,} tokens" in shown.render()


def test_micro_batches_keep_less_and_run_the_same() -> None:
    whole, split = (
        show_pretraining(tiny_config(optim={"steps": 10, "learning_rate": 1e-3, "accumulate": accumulate}))
        for accumulate in (1, 4)
    )
    assert split.activations(split.steps[0]) == pytest.approx(whole.activations(whole.steps[0]) / 4)
    assert split.steps == whole.steps
