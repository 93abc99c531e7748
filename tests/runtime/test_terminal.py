import io
import math

import pytest
from rich.console import Console

from jepa.runtime.terminal import Progress, duration, number


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=60)


def test_writes_plain_lines_where_there_is_no_terminal():
    console = plain()
    with Progress(3000, console=console) as progress:
        progress.update(200, {"loss": 0.412, "clips_per_s": 310.4, "other": 1.0})
    line = console.file.getvalue()
    assert line.startswith("step 200/3000  loss .412  clips/s 310  eta ")
    assert "\x1b" not in line and line.count("\n") == 1


def test_eta_counts_only_the_steps_of_this_start(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("jepa.runtime.terminal.time.monotonic", lambda: now[0])
    console = plain()
    with Progress(1000, start=900, console=console) as progress:
        now[0] += 50  # 50 steps in 50 s leave 50 s
        progress.update(950, {"loss": 1.0})
    assert console.file.getvalue() == "step 950/1000  loss 1.00  eta 50s\n"


def test_long_messages_and_brackets_stay_as_they_are():
    console = plain()
    text = "continuing [bold]run[/bold] " + "at a path that is longer than the line " * 3
    with Progress(10, console=console) as progress:
        progress.note(text)
        progress.warn("collapse")
    assert console.file.getvalue() == f"{text}\nwarning: collapse\n"


def test_notes_stand_above_the_live_line():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with Progress(100, console=console) as progress:
        progress.update(10, {"loss": 0.5, "clips_per_s": 12.0})
        progress.note("a note")
        progress.update(20, {"loss": 0.25, "clips_per_s": 12.0})
    output = console.file.getvalue()
    assert "a note\n" in output
    assert "20/100" in output and "loss .250" in output
    assert output.endswith("\x1b[?25h")  # the cursor is back


def test_the_bar_is_taken_down_when_the_run_fails():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with pytest.raises(RuntimeError, match="boom"), Progress(100, console=console):
        raise RuntimeError("boom")
    assert "\x1b[?25h" in console.file.getvalue()


def test_default_is_standard_error(capsys):
    with Progress(10) as progress:
        progress.note("hello")
    captured = capsys.readouterr()
    assert captured.out == "" and "hello" in captured.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.6, "1m00s"),
        (130, "2m10s"),
        (3600 * 3 + 300, "3h05m"),
        (86400 * 2 + 3600 * 4, "2d04h"),
        (math.nan, "?"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.412, ".412"),
        (1.3149, "1.31"),
        (38.21, "38.2"),
        (1234.0, "1.23e+03"),
        (1.2e-5, "1.2e-05"),
        (-0.5, "-.500"),
        (0.0, ".00"),
        (math.nan, "nan"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text
