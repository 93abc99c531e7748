"""The end of a run."""

from collections.abc import Callable
from pathlib import Path

import torch

from jepa.config.schema import PretrainConfig
from jepa.programs.finish import last_health, pictures
from jepa.programs.train_step import State
from jepa.runtime.run_dir import RunDir


def test_pictures_are_left_out_when_every_example_file_is_bad(
    run_config: Callable[..., PretrainConfig], tmp_path: Path
) -> None:
    state, run = State.fresh(run_config(), torch.device("cpu")), RunDir(tmp_path)
    run.create()
    assert pictures(torch.empty(0, 3, 4, 16, 16), state, run) == (None, None)
    sheet, maps = pictures(torch.zeros(2, 3, 4, 16, 16), state, run)
    assert sheet is not None
    assert maps is not None


def test_the_last_measured_value_of_each_signal_counts() -> None:
    lines = [{"step": 1, "effective_rank": 9.0, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    assert last_health(lines) == {"step": 2, "effective_rank": 9.0, "loss": 0.5}
