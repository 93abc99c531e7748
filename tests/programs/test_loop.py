"""What every training program shares: a checkpoint belongs to the verb that wrote it."""

import pytest
import torch

from jepa.errors import CheckpointError
from jepa.programs.pretrain_step import fresh_state
from jepa.runtime.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import tiny_config


def test_a_checkpoint_of_another_verb_is_refused(tmp_path):
    state = fresh_state(tiny_config(), torch.device("cpu")).state_dict()
    path = save_checkpoint(tmp_path, state | {"program": "world-model"})
    with pytest.raises(CheckpointError, match="is of `jepa world-model`; one of `jepa pretrain` is needed"):
        load_checkpoint(path)
    assert load_checkpoint(path, program="world-model")["step"] == 0


def test_a_checkpoint_without_a_verb_is_of_pretraining(tmp_path):
    state = fresh_state(tiny_config(), torch.device("cpu")).state_dict()
    del state["program"]
    assert load_checkpoint(save_checkpoint(tmp_path, state))["step"] == 0
