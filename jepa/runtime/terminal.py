"""What a run shows while it works: a live line on a terminal, plain lines elsewhere; always on stderr."""

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichProgress,
)
from rich.text import Text

LOG_WIDTH = 140  # columns of a table in a log file, which has no width of its own


class Progress:
    """Show steps, loss, speed and remaining time of a run; a context manager.

    On a terminal a line at the bottom is redrawn; elsewhere each ``update`` prints a line like
    ``step 200/3000  loss .412  clips/s 310  eta 2m10s``. ``note`` and ``warn`` print above the live line.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        unit: str = "step",
        console: Console | None = None,
        quiet: bool = False,
    ) -> None:
        """Count from ``start`` to ``total`` units; ``console`` is stderr unless a test gives another."""
        self.total, self.start, self.step = total, start, start
        self.console = console or table_console(stderr=True)
        self.console.quiet = quiet
        self.unit, self._began = unit, time.monotonic()
        self._bar = _bar(self.console, unit) if self.console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("", total=total, completed=start)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, signals: Mapping[str, float]) -> None:
        """Show that ``step`` steps are done, with ``loss`` and ``clips_per_s`` where ``signals`` has them."""
        self.step = step
        shown = [f"loss {number(signals['loss'])}"] if "loss" in signals else []
        shown += [f"clips/s {signals['clips_per_s']:.0f}"] if "clips_per_s" in signals else []
        numbers = "  ".join(shown)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, description=numbers)
        else:
            self._line(
                f"{self.unit} {step}/{self.total}  {numbers}{'  ' if numbers else ''}eta {duration(self._remaining())}"
            )

    def note(self, text: str) -> None:
        """Print ``text`` on a line of its own."""
        self._line(text)

    def warn(self, text: str) -> None:
        """Print a warning on a line of its own."""
        self._line(f"warning: {text}", style="yellow")

    def _remaining(self) -> float:
        """Return the seconds left at the speed so far; NaN before the first step."""
        done = self.step - self.start
        return (time.monotonic() - self._began) / done * (self.total - self.step) if done else math.nan

    def _line(self, text: str, style: str = "") -> None:
        """Print one unwrapped line; a Text, so that brackets in a message are not taken for markup."""
        self.console.print(Text(text, style=style), soft_wrap=True)


def table_console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or wide enough for tables where the output goes to a file."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console


def number(value: float) -> str:
    """Write three significant digits without a leading zero: .412, 1.31, 38.2, 1.2e-05, nan."""
    if not math.isfinite(value):
        return str(value)
    text = f"{value:.1e}" if value != 0 and abs(value) < 1e-3 else f"{value:#.3g}".removesuffix(".")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def duration(seconds: float) -> str:
    """Write a length of time in its two largest units: 45s, 2m10s, 3h05m, 2d04h; ? when it is not known."""
    if not math.isfinite(seconds):
        return "?"
    whole = max(0, round(seconds))
    for size, unit, part, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02d}{small}"
    return f"{whole}s"


def _bar(console: Console, unit: str) -> RichProgress:
    """Build the live line."""
    return RichProgress(
        TextColumn(unit),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TextColumn("eta"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        refresh_per_second=4,
    )
