"""How the training step's time and memory grow with tokens and with the model, and loading with decoding processes.

Run it as ``python -m benchmarks.growth``. One step is `jepa.programs.pretrain_step` of V-JEPA with its two mask
patterns on noise; memory is the largest that torch's operations hold at a time. Exponents are least squares on
logarithms, beside those of the counted FLOPs and of the estimate of `jepa show --hardware`. The floor is the time of
the counted FLOPs at the speed of a large matrix product. Clips come from generated H.264 files. Charts go to ``--out``.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.estimates import estimated_peak, modality_of, peak_bytes, random_batch
from benchmarks.pairs import interleave, options, print_header, print_table, say, speed_of_products
from jepa.config.data import DataConfig
from jepa.config.schema import PretrainConfig
from jepa.data.loader import train_stream
from jepa.data.synthetic import write_videos
from jepa.programs.masking import masks_for
from jepa.programs.pretrain_step import fresh_state, pretrain_step
from jepa.programs.step_cost import step_cost
from jepa.runtime.charts import Series, line_chart

CLIPS = ((4, 112), (8, 112), (8, 160), (16, 160), (16, 224))  # frames, pixels along a side
SIZES = ("mini", "tiny", "small", "base")
WORKERS = (0, 1, 2, 4)
BATCH, BATCHES, VIDEOS = 8, 16, 24  # clips per loaded batch, timed batches, generated files


@dataclass(frozen=True, slots=True)
class Measured:
    """One step: what it was measured and estimated to take."""

    label: str
    at: float  # tokens per clip, or millions of weights
    seconds: float
    flops: int
    peak: int  # bytes
    estimate: int  # bytes


def config_of(size: str, frames: int, px: int, batch: int) -> PretrainConfig:
    """Return V-JEPA's step on clips of noise."""
    blocks = [{"kind": "multiblock", "blocks": n, "scale": s} for n, s in ((8, 0.15), (2, 0.7))]
    data = {"stride": 1, "frames_per_clip": frames, "resolution": px, "batch_size": batch}
    tree = {
        "run_dir": "unused",
        "data": {"sources": [{"kind": "synthetic", "path": "unused"}], **data},
        "model": {"size": size, "patch": 16},
        "masks": {"video": blocks},
        "objective": {"kind": "vjepa"},
        "optim": {"steps": 1000, "learning_rate": 1e-4},
    }
    return PretrainConfig.model_validate(tree, strict=False)


def measure(label: str, config: PretrainConfig, by: str, arguments: argparse.Namespace) -> Measured:
    """Time a step and follow its memory."""
    modality, device = modality_of(config), torch.device(arguments.device)
    state, batch = fresh_state(config, device), random_batch(config, modality, arguments.device)
    cost = step_cost(config, modality, batch.masks)
    times = interleave(
        {"step": lambda: pretrain_step(state, batch)}, rounds=arguments.rounds, device=arguments.device
    )
    tokens = state.objective.encoder.grid(batch.clip.shape).tokens
    weights = sum(one.numel() for one in state.objective.encoder.parameters())
    estimate = estimated_peak(cost, state, batch)
    return Measured(
        label,
        tokens if by == "tokens" else weights / 1e6,
        times["step"].seconds,
        len(batch.clip) * cost.hardware_flops,
        peak_bytes(state, batch),
        estimate,
    )


def exponent(at: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Fit values = factor * at ** exponent by least squares on logarithms; returns exponent and factor."""
    slope, offset = np.polyfit(np.log(at), np.log(values), 1)
    return float(slope), math.exp(offset)


def report(name: str, by: str, unit: str, found: Sequence[Measured], speed: float, out: Path) -> None:
    """Print a table of steps and the exponents, and draw time and memory."""
    print_table(
        (name, by, "step, s", "floor, s", "GFLOP", "GFLOP/s", "peak, MB", "estimate, MB"),
        [
            (
                one.label,
                f"{one.at:,.0f}" if one.at >= 100 else f"{one.at:.1f}",
                f"{one.seconds:.3f}",
                f"{one.flops / speed:.3f}",
                f"{one.flops / 1e9:,.1f}",
                f"{one.flops / one.seconds / 1e9:,.0f}",
                f"{one.peak / 1e6:,.0f}",
                f"{one.estimate / 1e6:,.0f}",
            )
            for one in found
        ],
    )
    at = [one.at for one in found]
    measured: dict[str, list[float]] = {
        "seconds": [one.seconds for one in found],
        "FLOPs": [float(one.flops) for one in found],
        "peak memory": [one.peak / 1e6 for one in found],
        "its estimate": [one.estimate / 1e6 for one in found],
    }
    fits = {what: exponent(at, values) for what, values in measured.items()}
    say(f"Exponents in {by}: {', '.join(f'{what} {fit[0]:.2f}' for what, fit in fits.items())}\n")
    stem = name.split(maxsplit=1)[0]
    lines = {
        f"{stem}-seconds": (
            "seconds",
            "FLOPs",
            [value / speed for value in measured["FLOPs"]],
            "floor",
            "Seconds per step",
        ),
        f"{stem}-memory": (
            "peak memory",
            "its estimate",
            measured["its estimate"],
            "estimate",
            "Peak memory, MB",
        ),
    }
    for file, (what, beside, expected, called, title) in lines.items():
        slope, factor = fits[what]
        series = (
            Series("measured", at, measured[what]),
            Series(f"fit, exponent {slope:.2f}", at, [factor * x**slope for x in at]),
            Series(f"{called}, exponent {fits[beside][0]:.2f}", at, expected),
        )
        chart = line_chart(f"{title} against {by}", series, x_label=unit, log=True, log_x=True)
        (out / f"{file}.svg").write_text(chart + "\n", encoding="utf-8")


def data_config(folder: Path, workers: int) -> DataConfig:
    """Return how clips of 16 frames are cut from the generated files, and augmented as for training."""
    tree = {
        "sources": [{"kind": "csv", "path": str(folder / "motion.csv")}],
        "frames_per_clip": 16,
        "stride": 2,
        "resolution": 112,
        "batch_size": BATCH,
        "workers": workers,
    }
    return DataConfig.model_validate(tree, strict=False)


def clips_per_second(folder: Path, workers: int) -> float:
    """Load batches with so many processes, the first ones not counted: they were made while processes started."""
    config = config_of("nano", 16, 112, BATCH)
    ahead = 2 + 2 * workers
    stream = train_stream(
        data_config(folder, workers),
        seed=0,
        start_step=0,
        steps=BATCHES + 2 * ahead,  # to the end of the timing no process is without an order
        sample_masks=partial(masks_for, config),
    )
    for _ in islice(stream, ahead):
        pass
    begin = time.perf_counter()
    count = sum(len(batch.clip) for batch in islice(stream, BATCHES))
    seconds = time.perf_counter() - begin
    for _ in stream:  # its processes end with it
        pass
    return count / seconds


def loading(rounds: int, out: Path) -> None:
    """Print and draw clips per second against processes, turn by turn."""
    speeds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        write_videos(Path(folder), count=VIDEOS, seed=0, frames=48, size=256, fps=8)
        for _ in range(rounds):
            for workers in WORKERS:
                speeds[workers].append(clips_per_second(Path(folder), workers))
    middle = {workers: float(np.median(found)) for workers, found in speeds.items()}
    print_table(
        ("decoding processes", "clips/s, median (smallest-largest)", "of one process"),
        [
            (
                workers,
                f"{middle[workers]:.1f} ({min(found):.1f}-{max(found):.1f})",
                f"{middle[workers] / middle[1]:.2f}x",
            )
            for workers, found in speeds.items()
        ],
    )
    series = [Series("clips per second", list(WORKERS), [middle[workers] for workers in WORKERS])]
    chart = line_chart(
        "Clips per second against decoding processes", series, x_label="processes", from_zero=True
    )
    (out / "workers.svg").write_text(chart + "\n", encoding="utf-8")


def steps(arguments: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """Return the parts of the benchmark by name."""
    speed = speed_of_products(device=arguments.device)
    say(f"{speed / 1e9:.0f} GFLOP/s\n")

    def by_tokens() -> None:
        found = [
            measure(f"{frames} x {px} px", config_of("tiny", frames, px, 1), "tokens", arguments)
            for frames, px in CLIPS
        ]
        report("clip (tiny, 1 clip)", "tokens", "tokens per clip", found, speed, arguments.out)

    def by_size() -> None:
        found = [measure(size, config_of(size, 8, 112, 2), "weights", arguments) for size in SIZES]
        report("size (8 x 112 px, 2 clips)", "weights", "millions of weights", found, speed, arguments.out)

    return {"tokens": by_tokens, "size": by_size, "workers": lambda: loading(arguments.rounds, arguments.out)}


def main() -> None:
    """Measure what is asked for."""
    parser = options(__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "plots", help="folder for the charts"
    )
    parser.add_argument(
        "--only", nargs="+", choices=("tokens", "size", "workers"), default=("tokens", "size", "workers")
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print_header(arguments, "av")
    parts = steps(arguments)
    for name in arguments.only:
        parts[name]()


if __name__ == "__main__":
    main()
