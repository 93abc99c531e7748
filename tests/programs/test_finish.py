"""The end of a run."""

from collections.abc import Callable

import torch

from jepa.config.schema import PretrainConfig
from jepa.programs.finish import last_health, pictures
from jepa.programs.pretrain_step import fresh_state


def test_pictures_are_left_out_when_every_example_file_is_bad(
    run_config: Callable[..., PretrainConfig],
) -> None:
    state = fresh_state(run_config(), torch.device("cpu"))
    assert pictures(torch.empty(0, 3, 4, 16, 16), state) == (None, None)
    assert None not in pictures(torch.zeros(2, 3, 4, 16, 16), state)


def test_the_last_measured_value_of_each_signal_counts() -> None:
    lines = [{"step": 1, "effective_rank": 9.0, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    assert last_health(lines) == {"step": 2, "effective_rank": 9.0, "loss": 0.5}
