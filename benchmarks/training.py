"""What a whole pre-training step costs, beside V-JEPA 2's own code.

    python -m benchmarks.training [--peer PATH] [--sizes small base] [--batch 4] [--dtype float32] [--compile]

One step: encoder on both mask patterns, EMA target, predictor, loss, backward pass, AdamW, EMA update; ours is
`jepa.programs.pretrain_step`, theirs what app/vjepa/train.py does with the modules of the clone at PATH, from the same
weights, on the same clips and masks. Before anything is timed, loss, gradients, and weights after a step are compared,
and the benchmark stops where they differ. The floor is the time of the counted FLOPs at the speed of a large matrix
product, or of `--accelerator`'s data sheet. On CPUs ours is timed without oneDNN too: where processors are not Intel's,
much of the gain is the library that multiplies. Memory is the largest that one step
holds, weights and moments included.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.estimates import held_tensors, random_batch
from benchmarks.memory import PeakMemory
from benchmarks.operators import print_operators
from benchmarks.pairs import (
    Times,
    cpu_ratio,
    interleave,
    options,
    print_header,
    print_table,
    ratio,
    say,
    speed_on,
)
from benchmarks.peers import add_peer
from benchmarks.same_step import LIMITS, Step, compare, our_names, record_ours, record_theirs
from benchmarks.upstream import REPOSITORY, Upstream
from jepa.config.hardware import ACCELERATORS
from jepa.config.schema import PretrainConfig
from jepa.programs.pretrain_step import PretrainState, fresh_state, pretrain_step
from jepa.programs.step_cost import PARTS, step_cost
from jepa.types import Batch


class Shape(NamedTuple):
    """Clips that a size is measured on."""

    frames: int
    resolution: int


SHAPES = {"small": Shape(16, 112), "base": Shape(8, 112), "large": Shape(16, 256)}
MOMENTUM = 0.9  # of the target encoder: one update of the recipe's .99925 is below the rounding of float32


def config_of(size: str, arguments: argparse.Namespace) -> PretrainConfig:
    """Return V-JEPA 2's recipe (arXiv:2506.09985) for an encoder size, in the layout of its released code."""
    shape, mask = SHAPES[size], {"kind": "multiblock"}
    return PretrainConfig.model_validate(
        {
            "run_dir": "none",
            "device": torch.device(arguments.device).type,
            "dtype": arguments.dtype,
            "compile": arguments.compile,
            "data": {
                "sources": ({"kind": "synthetic", "path": "none"},),
                "frames_per_clip": shape.frames,
                "fps": 4,
                "resolution": shape.resolution,
                "batch_size": arguments.batch or (16 if arguments.device.startswith("cuda") else 4),
            },
            "model": {
                "size": size,
                "rotary_layout": "released",
                "checkpoint_activations": arguments.checkpoint_activations,
            },
            "predictor": {"width": 384, "depth": 12, "heads": 12},
            "masks": {"video": (mask | {"blocks": 8, "scale": 0.15}, mask | {"blocks": 2, "scale": 0.7})},
            "objective": {"kind": "vjepa", "loss": "l1", "momentum": MOMENTUM},
            "optim": {"steps": 1000, "learning_rate": 5.25e-4, "schedule": "constant"},
        }
    )


def our_state(config: PretrainConfig, device: str) -> PretrainState:
    """Return our step 0. Mask tokens are alike, as the clone takes the first one for every pattern, and not 0."""
    state = fresh_state(config, torch.device(device))
    tokens = state.objective.predictor.mask_tokens
    with torch.no_grad():
        tokens.copy_(torch.randn(tokens.shape[-1], generator=torch.Generator().manual_seed(0)) * 0.02)
    return state


@dataclass
class Side:
    """One implementation, ready to make steps."""

    name: str
    run: Callable[[], Any]
    optimizer: torch.optim.Optimizer
    held: Callable[[], Sequence[Tensor]]
    first: Step
    """What its first step computed."""


def memory_of(side: Side, device: str, *, compiled: bool) -> int | None:
    """Return the bytes that one step, which is not the first, holds at most; None where kernels hide them."""
    side.optimizer.zero_grad(set_to_none=True)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        own = {
            one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
            for one in side.held()
            if one.is_cuda
        }
        others = torch.cuda.memory_allocated() - sum(own.values())
        torch.cuda.reset_peak_memory_stats()
        side.run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - others
    if compiled:
        return None
    with PeakMemory(*side.held()) as memory:
        side.run()
    return memory.largest


def our_side(state: PretrainState, batch: Batch) -> Side:
    """Make our first step."""
    first = record_ours(state, batch)

    def run() -> object:
        return pretrain_step(state, batch)

    return Side("ours", run, state.optimizer, lambda: held_tensors(state, batch), first)


def their_side(peer: Path, config: PretrainConfig, weights: dict[str, Tensor], batch: Batch) -> Side:
    """Build the clone's training from ``weights`` and make its first step."""
    upstream = Upstream(peer, config, weights, batch)
    return Side("theirs", upstream.step, upstream.optimizer, upstream.held, record_theirs(upstream))


def measure(size: str, arguments: argparse.Namespace) -> None:
    """Compare, time and print one size."""
    config, device = config_of(size, arguments), arguments.device
    torch.manual_seed(0)
    batch = random_batch(config, "video", device)
    state = our_state(config, device)
    trained = {name: value.detach().clone() for name, value in state.objective.named_parameters()}
    sides = [our_side(state, batch)]
    peaks = [memory_of(sides[0], device, compiled=config.compile)]
    print_work(size, config, batch)
    if arguments.peer:
        sides.append(their_side(arguments.peer, config, our_names(trained), batch))
        compare(sides[0].first, sides[1].first, LIMITS[config.dtype])
        peaks.append(memory_of(sides[1], device, compiled=config.compile))
    if arguments.profile:
        for side in sides:
            print_operators(side.name, side.run, device)
        return
    speed = speed_on(arguments)
    runs = {side.name: side.run for side in sides}
    if device == "cpu" and config.dtype == "float32" and not config.compile:
        runs["ours, MKL's products"] = without_onednn(sides[0].run)
    times = interleave(runs, rounds=arguments.rounds, device=device)
    print_times(
        step_cost(config, "video", batch.masks).model_flops * len(batch.clip), speed, times, len(batch.clip)
    )
    print_memory(peaks, sides, state)


def without_onednn(run: Callable[[], Any]) -> Callable[[], Any]:
    """Return the same with torch's usual matrix products, to tell what is owed to others."""

    def plain() -> object:
        with patch("jepa.runtime.products.onednn_is_faster", return_value=False):
            return run()

    return plain


def print_work(size: str, config: PretrainConfig, batch: Batch) -> None:
    """Print what is computed."""
    cost, shape = step_cost(config, "video", batch.masks), SHAPES[size]
    parts = ", ".join(f"{part} {cost.part(part) / 1e9:.1f}" for part in PARTS if cost.part(part))
    say(
        f"ViT-{size}, {len(batch.clip)} clips of {shape.frames} x {shape.resolution}^2, {config.dtype}: {cost.tokens} "
        f"tokens, context {cost.context_tokens}, targets {cost.target_tokens}; {cost.model_flops / 1e9:.1f} GFLOP per "
        f"clip (run: {parts})\n"
    )


def print_times(flops: int, speed: float, times: dict[str, Times], clips: int) -> None:
    """Print seconds and speed of one step of each side, and their ratio."""
    rows = []
    for name, one in times.items():
        compared = name != "ours"
        rows.append(
            (
                name,
                f"{one.seconds:.3f}",
                f"{clips / one.seconds:.2f}",
                f"{flops / one.seconds / 1e9:.0f}",
                f"{flops / one.seconds / speed:.0%}",
                ratio(one, times["ours"]) if compared else "",
                cpu_ratio(one, times["ours"]) if compared else "",
            )
        )
    floor = flops / speed
    rows.append(("floor", f"{floor:.3f}", f"{clips / floor:.2f}", f"{speed / 1e9:.0f}", "100%", "", ""))
    titles = ("step", "s", "clips/s", "model GFLOP/s", "of the floor's", "/ ours", "/ ours, CPU time")
    print_table(titles, rows)


def print_memory(peaks: Sequence[int | None], sides: Sequence[Side], state: PretrainState) -> None:
    """Print the memory of each side, its ratio, and what any side must hold: weights, gradients, moments, target."""
    if None in peaks:
        say("Memory inside compiled kernels is not seen on a CPU.\n")
        return
    trained = sum(one.nbytes for one in state.objective.parameters() if one.requires_grad)
    target = sum(one.nbytes for one in state.objective.parameters() if not one.requires_grad)
    rows = [
        (side.name, f"{peak / 1e6:.0f}", f"{peaks[0] / peak:.2f}" if side.name == "theirs" else "")
        for side, peak in zip(sides, peaks, strict=True)
    ]
    rows.append(("weights, gradients, moments, target", f"{(4 * trained + target) / 1e6:.0f}", ""))
    print_table(("memory of a step", "MB", "ours / theirs"), rows)


def main() -> None:
    """Measure every size that is asked for."""
    parser = options(__doc__)
    add_peer(parser, REPOSITORY)
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, help="small and base; large on a GPU")
    parser.add_argument("--batch", type=int, help="clips per step; 4, on a GPU 16")
    parser.add_argument("--dtype", choices=LIMITS, default="float32")
    parser.add_argument("--compile", action="store_true", help="both, by torch.compile")
    parser.add_argument(
        "--checkpoint-activations", action="store_true", help="both recompute their activations"
    )
    parser.add_argument(
        "--accelerator", choices=ACCELERATORS, help="whose data sheet gives the floor's speed"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes, and no times")
    arguments = parser.parse_args()
    print_header(arguments)
    for size in arguments.sizes or (["large"] if arguments.device.startswith("cuda") else ["small", "base"]):
        measure(size, arguments)


if __name__ == "__main__":
    main()
