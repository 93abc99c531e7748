"""Time several ways to do the same work in one run, turn by turn, so that what else the machine does hits all alike."""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import torch

from jepa.config.hardware import ACCELERATORS

ROUNDS = 5


@dataclass(frozen=True)
class Times:
    """Wall and CPU seconds of every counted call, in order."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The median of the wall times."""
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """The median of the CPU times, of all threads together."""
        return statistics.median(self.cpu)


@dataclass(frozen=True)
class Ratio:
    """How many times as long one way takes as another, over pairs that were timed next to each other."""

    median: float
    least: float
    most: float
    pairs: int

    @classmethod
    def of(cls, slow: Sequence[float], fast: Sequence[float]) -> "Ratio":
        """Divide pair by pair: (n,) and (n,) seconds."""
        quotients = [a / b for a, b in zip(slow, fast, strict=True)]
        return cls(statistics.median(quotients), min(quotients), max(quotients), len(quotients))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


def timed(run: Callable[[], object], device: str = "cpu") -> tuple[float, float]:
    """Return wall and CPU seconds of one call, all of its kernels done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def interleave(
    runs: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS, warmup: int = 1, device: str = "cpu"
) -> dict[str, Times]:
    """Time every run once per round, after ``warmup`` rounds that are not counted.

    The order is turned round after each round, so that no run always comes after the same other one.
    """
    order = list(runs)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(warmup + rounds):
        for name in order:
            once = timed(runs[name], device)
            if number >= warmup:
                spent[name].append(once)
        order.reverse()
    return {
        name: Times(tuple(wall for wall, _ in times), tuple(cpu for _, cpu in times))
        for name, times in spent.items()
    }


def ratio(slow: Times, fast: Times) -> Ratio:
    """Return how many times as long ``slow`` took, by wall time."""
    return Ratio.of(slow.wall, fast.wall)


def cpu_ratio(slow: Times, fast: Times) -> Ratio:
    """Return how many times the CPU time ``slow`` took: what to read where the machine was busy."""
    return Ratio.of(slow.cpu, fast.cpu)


def speed_of_products(
    *, seconds: float = 1.0, width: int = 1024, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> float:
    """Return the FLOP/s of a large matrix product on this machine now, with which floors are computed.

    On CPUs it is that of the faster of the two libraries that torch carries: MKL, which it takes by itself, or oneDNN.
    """
    left, right = torch.randn(2, width, width, device=device, dtype=dtype)
    ways: list[Callable[[], object]] = [lambda: left @ right]
    if device == "cpu" and torch.backends.mkldnn.is_available():
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""))
    return max(speed_of(way, 2 * width**3, seconds / len(ways), device) for way in ways)


def speed_of(run: Callable[[], object], flops: int, seconds: float, device: str) -> float:
    """Return the FLOP/s of calls that compute ``flops`` each, made one after another for so many ``seconds``."""
    count, spent = 0, 0.0
    timed(run, device)
    while spent < seconds:
        spent += timed(run, device)[0]
        count += 1
    return flops * count / spent


def speed_on(arguments: argparse.Namespace) -> float:
    """Return the FLOP/s that floors are counted with: of ``--accelerator``'s data sheet, else measured.

    ``arguments`` are those of `options`, with ``dtype`` and, where a benchmark has it, ``accelerator``.
    """
    if name := getattr(arguments, "accelerator", None):
        return ACCELERATORS[name].peak(arguments.dtype)
    gpu = arguments.device.startswith("cuda")
    dtype = getattr(torch, arguments.dtype) if gpu else torch.float32
    return speed_of_products(width=8192 if gpu else 1024, device=arguments.device, dtype=dtype)


def options(doc: str | None, *, rounds: int = ROUNDS) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has; ``doc`` is its module's docstring."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="interleaved rounds that are counted")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch's operations")
    parser.add_argument("--device", default="cpu")
    return parser


def print_header(arguments: argparse.Namespace, *packages: str) -> None:
    """Set torch's threads, and print what a reader must know beside the numbers."""
    from importlib.metadata import version

    torch.set_num_threads(arguments.threads)
    chip = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else processor()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    say(
        f"{date.today()}, {chip}, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {versions}\n`python -m {module_name()} {' '.join(sys.argv[1:])}`\n"
    )


def processor() -> str:
    """Return the name of the CPU, and how many of its cores there are."""
    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        found = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout
        names = [
            line.split(":", 1)[1].strip() for line in found.splitlines() if line.startswith("Model name")
        ]
        name = names[0] if names else name
    return f"{os.cpu_count()} x {name}"


def module_name() -> str:
    """Return the name under which the running benchmark was started."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else sys.argv[0]


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown, as benchmarks/RESULTS.md holds them."""
    say(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for row in rows:
        say(f"| {' | '.join(str(cell) for cell in row)} |")
    say("")


def say(line: str) -> None:
    """Print now, also where the output goes into a file."""
    print(line, flush=True)
