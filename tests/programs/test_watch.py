"""`jepa watch`: what it reads from files that another process is writing, what it warns of, and how it looks."""

import io
import json
import math
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from jepa.errors import RunError
from jepa.programs.watch import draw, watch
from jepa.programs.watch_reading import RunReader, RunView, find_warnings, rank_views
from jepa.runtime.metrics import MetricsLog


def row(step: int, **changes: float) -> dict:
    values = {"loss": 1 / step, "gradient_norm": 0.5, "target_std": 0.9, "seconds": 2.0}
    return values | {"clips_per_s": 64.0, "data_wait": 0.1, "bad_files": 0} | changes


def write_run(root: Path, steps: int = 10, *, every: int = 20, total: int = 1000, **changes: float) -> Path:
    """A run directory in the middle of training."""
    with MetricsLog(root) as log:
        for number in range(1, steps + 1):
            log.write(number * every, row(number * every, **changes))
    (root / "config.yaml").write_text(f"# jepa\nrun_dir: {root}\noptim:\n  steps: {total}\n")
    return root


def write_rank(root: Path, rank: int, steps: int = 10, **changes: float) -> None:
    with MetricsLog(root, name=f"metrics-rank{rank}.jsonl") as log:
        for number in range(1, steps + 1):
            log.write(number * 20, row(number * 20, **changes))


def drawn(*views: RunView, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(draw(views, width))
    return console.file.getvalue()


def test_how_far_and_how_fast(tmp_path: Path) -> None:
    view = RunReader(write_run(tmp_path / "a")).look()
    assert (view.step, view.steps, view.finished) == (200, 1000, False)
    assert view.eta_s == pytest.approx(800 * 2 / 20)  # 2 s for 20 steps
    assert view.curve("loss") == [1 / (20 * n) for n in range(1, 11)]
    assert view.warnings == ()
    assert view.ranks == ()
    shown = drawn(view)
    for text in (
        "a",
        "step 200/1,000  20%  eta 1m20s",
        "loss",
        "grad norm",
        "target std",
        "clips/s",
        "▁",
        "█",
    ):
        assert text in shown


def test_a_file_that_grows_is_read_on_and_a_line_that_is_cut_is_waited_for(tmp_path: Path) -> None:
    reader = RunReader(tmp_path)
    assert reader.look().step is None
    assert "no metrics yet" in drawn(reader.look())
    path = tmp_path / "metrics.jsonl"
    path.touch()
    assert reader.look().step is None
    with path.open("w") as file:
        file.write('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
        file.flush()
        assert reader.look().step == 1
        file.write('ss": 1.5}\n')
        file.flush()
        assert reader.look().curve("loss") == [2.0, 1.5]


def test_a_run_that_goes_on_from_an_earlier_step_is_read_anew(tmp_path: Path) -> None:
    reader = RunReader(write_run(tmp_path, 10))
    assert len(reader.look().rows) == 10
    with MetricsLog(tmp_path, start_step=101) as log:  # keeps 5 lines
        for step in (120, 140, 160, 180, 200, 220, 240):
            log.write(step, row(step, loss=-1.0))
    view = reader.look()
    assert [one["step"] for one in view.rows] == list(range(20, 260, 20))
    assert view.curve("loss")[5:] == [-1.0] * 7


def test_damage_and_nan_are_shown_and_stop_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, 4)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'no JSON\n[1]\n{"loss": 1}\n\xff\xfe\n{"step": 100, "loss": "nan", "target_std": null}\n')
    view = RunReader(tmp_path).look()
    assert (view.step, len(view.rows)) == (100, 5)
    assert math.isnan(view.curve("loss")[-1])
    assert "the loss is not finite" in view.warnings
    assert "4 damaged lines in the log were left out" in view.warnings
    assert "×" in drawn(view)
    assert json.loads(json.dumps(view.to_dict(), allow_nan=False))["last"]["loss"] == "nan"


def test_waiting_for_data_is_said_when_it_dominates(tmp_path: Path) -> None:
    assert RunReader(write_run(tmp_path / "few", data_wait=0.29)).look().warnings == ()
    (warning,) = RunReader(write_run(tmp_path / "much", data_wait=0.41)).look().warnings
    assert warning.startswith("41% of the time is waiting for data: raise data.workers")


def test_a_run_that_fell_silent_is_noticed_unless_it_is_done(tmp_path: Path) -> None:
    long_ago = time.time() - 600
    os.utime(write_run(tmp_path) / "metrics.jsonl", (long_ago, long_ago))
    (warning,) = RunReader(tmp_path).look().warnings
    assert warning.startswith("no new line for 10m")
    (tmp_path / "summary.json").write_text("{}")
    view = RunReader(tmp_path).look()
    assert (view.finished, view.warnings) == (True, ())
    assert "done" in drawn(view)
    slow = [row(20 * n, seconds=300.0) for n in range(1, 5)]  # a line every five minutes
    assert find_warnings([one | {"step": 1} for one in slow], (), 600.0) == []


def test_a_straggler_is_named(tmp_path: Path) -> None:
    """Rank 0 writes metrics.jsonl, the others a file each."""
    write_run(tmp_path, forward_seconds=0.1)
    for rank, seconds in ((1, 0.11), (2, 0.14), (10, 0.1)):
        write_rank(tmp_path, rank, forward_seconds=seconds)
    view = RunReader(tmp_path).look()
    assert [(one.rank, one.slow) for one in view.ranks] == [(0, False), (1, False), (2, True), (10, False)]
    assert [warning.split(":")[0] for warning in view.warnings] == ["rank 2 is slower than the others"]
    shown = drawn(view)
    assert "s/step" in shown and "slow" in shown


def test_processes_in_step_are_told_apart_by_their_own_wait_for_data() -> None:
    """All wait for the slowest, so that their steps take the same time."""
    logs = {rank: [row(20) | {"step": 20}, row(40) | {"step": 40}] for rank in range(4)}
    logs[3] = [one | {"data_wait": 0.6} for one in logs[3]]
    assert [one.slow for one in rank_views(logs)] == [False, False, False, True]


def test_of_many_processes_the_slowest_are_listed(tmp_path: Path) -> None:
    write_run(tmp_path, forward_seconds=0.1)
    for rank in range(1, 16):
        write_rank(tmp_path, rank, forward_seconds=0.5 if rank == 13 else 0.1)
    shown = drawn(RunReader(tmp_path).look())
    assert "the slowest 8 of 16 processes" in shown
    assert (
        sum(" slow" in line and "!" not in line and "slowest" not in line for line in shown.splitlines()) == 1
    )


@pytest.mark.parametrize(("width", "side_by_side"), [(80, 2), (40, 1), (160, 3), (20, 1)])
def test_runs_stand_side_by_side_and_keep_to_the_width(tmp_path: Path, width: int, side_by_side: int) -> None:
    names = ("one", "two-with-a-name-that-is-much-too-long-for-its-frame", "three")
    views = [RunReader(write_run(tmp_path / name, 200, data_wait=0.5)).look() for name in names]
    shown = drawn(*views, width=width).splitlines()
    assert max(map(len, shown)) <= width
    assert shown[0].count("╭") == side_by_side


def test_once_draws_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (view,) = watch([write_run(tmp_path / "a")], once=True)
    assert view.step == 200
    assert capsys.readouterr().out.count("step 200/1,000") == 1
    watch([tmp_path / "a"], quiet=True)
    assert capsys.readouterr().out == ""


def test_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").touch()
    with pytest.raises(RunError, match="nowhere: there is no such run"):
        watch([tmp_path, tmp_path / "nowhere"], once=True)
    with pytest.raises(RunError, match="none of these is a directory"):
        watch([tmp_path / "sweep.json"], once=True)  # as runs/* may name beside directories


def test_a_terminal_is_drawn_on_until_all_runs_are_done(tmp_path: Path) -> None:
    write_run(tmp_path)
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    threading.Timer(0.3, (tmp_path / "summary.json").write_text, ["{}"]).start()
    (view,) = watch([tmp_path], every_s=0.05, console=console)
    assert view.finished
    assert "eta" in console.file.getvalue() and "done" in console.file.getvalue()


def test_ctrl_c_leaves(tmp_path: Path) -> None:
    write_run(tmp_path)
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    (view,) = watch([tmp_path], every_s=0.05, console=console)
    assert not view.finished
