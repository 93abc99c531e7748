"""The numbers of a run, one JSON line per logged step; TensorBoard, where it is installed, and W&B beside it."""

import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jepa.errors import RunError
from jepa.runtime.wandb_log import open_wandb

FILE_NAME = "metrics.jsonl"
TAIL_BYTES = 1 << 16  # some dozen lines


class MetricsLog:
    """Append to metrics.jsonl, a line at a time, each on disk (or with the kernel) before the next step."""

    def __init__(
        self,
        run_dir: Path | str,
        *,
        tensorboard: bool = False,
        start_step: int = 0,
        name: str = FILE_NAME,
        wandb: str | None = None,
    ) -> None:
        """Open the log ``name`` of ``run_dir``; lines of ``start_step`` and later, of an interrupted run, are dropped.

        ``wandb`` is a project of Weights & Biases that gets the numbers too. Raises RunError when a line other than
        the last is damaged, and when wandb is asked for and not installed.
        """
        root = Path(run_dir)
        root.mkdir(parents=True, exist_ok=True)
        path = root / name
        _truncate(path, start_step)
        self._wandb = None if wandb is None else open_wandb(wandb, root)
        self._file = path.open("a", encoding="utf-8")
        self._writer = _summary_writer(root, start_step) if tensorboard else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Log ``values`` of ``step``: numbers (0-d tensors too), text or None.

        JSON has no word for them, so NaN and the infinities are written as "nan", "inf" and "-inf";
        ``read_metrics`` turns them back into numbers.
        """
        line = {"step": step} | {name: _plain(value) for name, value in values.items()}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        numbers = {k: v for k, v in line.items() if isinstance(v, int | float) and k != "step"}
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(numbers, step=step)

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._wandb is not None:
            self._wandb.finish()
            self._wandb = None


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Read a metrics.jsonl: one dictionary per line, "nan", "inf" and "-inf" as floats; no file is no line.

    A last line that was being written when the run died is left out. Raises RunError, with the line's
    number, for any other damage.
    """
    file = Path(path)
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:  # not JSON, or cut inside a character
            if number == len(lines):  # no newline after it: it was never finished
                break
            raise RunError(f"{file}: line {number} is damaged ({error}); mend or remove it") from error
        if not isinstance(row, dict):
            raise RunError(f"{file}: line {number} is {line[:40]!r}, not an object; mend or remove it")
        rows.append({name: to_number(value) for name, value in row.items()})
    return rows


def last_step(path: Path | str) -> int | None:
    """Return the step of the last finished line, reading the end of the file alone; None where there is none."""
    file = Path(path)
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, 2) - TAIL_BYTES))
        lines = opened.read().split(b"\n")[:-1]
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):  # a line that is cut, or not ours: the one before says it
            continue
    return None


def _plain(value: Any) -> Any:
    """Return what JSON can hold."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, float) and not math.isfinite(number):
        return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    return number


def to_number(value: Any) -> Any:
    """Return the number that a value of a line names: "nan", "inf" and "-inf" are text in JSON."""
    return float(value) if value in ("nan", "inf", "-inf") else value


def _truncate(path: Path, start_step: int) -> None:
    """Drop an unfinished last line and those of ``start_step`` and later: no step stands there twice."""
    kept = [row for row in read_metrics(path) if row["step"] < start_step]
    if not path.exists():
        return
    text = "".join(json.dumps({k: _plain(v) for k, v in row.items()}, allow_nan=False) + "\n" for row in kept)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _summary_writer(root: Path, start_step: int) -> Any | None:
    """Return a TensorBoard writer, or None where tensorboard is not installed."""
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return None
    # TensorBoard hides what an interrupted run logged after the step at which this one goes on.
    return module.SummaryWriter(str(root / "tensorboard"), purge_step=start_step)
