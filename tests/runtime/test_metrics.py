import json
import math
import sys

import pytest
import torch

from jepa.errors import RunError
from jepa.runtime.metrics import TAIL_BYTES, MetricsLog, last_step, read_metrics


def test_reads_back_what_was_written(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write(0, {"loss": torch.tensor(0.5), "health": None, "note": "start", "knn": 1})
        log.write(20, {"loss": 0.25})
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 0, "loss": 0.5, "health": None, "note": "start", "knn": 1},
        {"step": 20, "loss": 0.25},
    ]


def test_numbers_that_are_not_finite_survive_in_strict_json(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write(0, {"a": math.nan, "b": math.inf, "c": torch.tensor(-math.inf)})

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    (row,) = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(row["a"]) and row["b"] == math.inf and row["c"] == -math.inf


def test_a_line_is_on_disk_before_the_next_step(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(0, {"loss": 1.0})
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1
    log.close()
    log.close()


def test_going_on_leaves_no_step_twice(tmp_path):
    with MetricsLog(tmp_path) as log:
        for step in range(10):
            log.write(step, {"loss": float(step), "odd": math.nan})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "lo')
    with MetricsLog(tmp_path, start_step=6) as log:
        log.write(6, {"loss": -1.0})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert rows[-1]["loss"] == -1 and math.isnan(rows[0]["odd"])


def test_reading_forgives_the_last_line_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_bytes('{"step": 1}\n{"step": 2, "name": "é'.encode()[:-1])  # cut inside a character
    assert read_metrics(path) == [{"step": 1}]
    path.write_text('{"step": 1\n{"step": 2}\n')
    with pytest.raises(RunError, match="line 1 is damaged"):
        read_metrics(path)
    path.write_text('{"step": 1}\n7\n')
    with pytest.raises(RunError, match="line 2 is b'7', not an object"):
        read_metrics(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(tmp_path, tensorboard=True) as log:
        log.write(3, {"loss": 0.5, "note": "text stays out"})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 0.5)]
    assert events.Tags()["scalars"] == ["loss"]


def test_works_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with MetricsLog(tmp_path, tensorboard=True) as log:
        log.write(0, {"loss": 1.0})
    assert not (tmp_path / "tensorboard").exists()


def test_the_last_step_is_read_from_the_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert last_step(path) is None
    path.touch()
    assert last_step(path) is None
    with MetricsLog(tmp_path) as log:
        for step in range(0, 40_000, 20):
            log.write(
                step, {"loss": 0.123456789, "note": "long enough that the file exceeds what is read of it"}
            )
    assert path.stat().st_size > 2 * TAIL_BYTES
    assert last_step(path) == 39_980
    with path.open("a") as file:
        file.write('{"step": 40000, "lo')
    assert last_step(path) == 39_980
    path.write_text("no JSON\n")
    assert last_step(path) is None
