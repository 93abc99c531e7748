"""What it costs to encode clips with a frozen encoder, beside others' code and beside plain transformer blocks.

    python -m benchmarks.encoding [--peer PATH] [--size small] [--batches 1 4] [--dtype float32]

One set of random weights, stored as a Hugging Face folder, is loaded by `jepa.load_encoder`, by transformers'
VJEPA2Model (SDPA), and into the encoder of the clone at PATH (facebookresearch/vjepa2) and timm's blocks, which know no
positions: they get the embedded tokens, and are the floor of any such encoder. Ours is also timed without its first and
last layers (blocks), and with `rotary_layout: paired`, which learns other weights and costs what it costs. Outputs
are compared before anything is timed. In bfloat16, weights are too.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.operators import print_operators
from benchmarks.pairs import (
    Times,
    interleave,
    options,
    print_header,
    print_table,
    ratio,
    say,
    speed_on,
)
from benchmarks.peers import add_peer, silence
from benchmarks.upstream import REPOSITORY, modules
from jepa import load_encoder
from jepa.config.architecture import Architecture
from jepa.config.method import ModelConfig, PredictorConfig
from jepa.models.blocks import NORM_EPS
from jepa.models.build import build_networks, frozen_networks
from jepa.models.cost import Stack
from jepa.models.formats import formats
from jepa.models.formats.released import ENCODER
from jepa.models.frozen import Networks
from jepa.models.sizes import size

SHAPES = {"small": (16, 112), "base": (8, 112), "large": (16, 256)}
"""Frames and pixels of the clips that a size is measured on."""
LIMITS = {torch.float32: 2e-5, torch.bfloat16: 5e-2}
"""Largest distance of outputs, relative to their norm, that rounding may make."""

Runs = dict[str, Callable[[Tensor], Tensor]]
"""Ways to encode clips, by name: (B, 3, T, H, W) -> (B, N, D)."""


def architecture_of(name: str, layout: str = "released") -> Architecture:
    """Return the encoder of a size; the folder needs a predictor, which is small here."""
    return Architecture(
        model=ModelConfig.model_validate({"size": name, "rotary_layout": layout}),
        predictor=PredictorConfig(width=48, depth=1, heads=12),
        resolution=SHAPES[name][1],
    )


def stored(name: str, folder: Path) -> Path:
    """Write an encoder of random weights as transformers stores it."""
    torch.manual_seed(0)
    architecture = architecture_of(name)
    encoder, predictor = build_networks(architecture)
    with torch.no_grad():
        for block in encoder.blocks:
            block.get_parameter("attn.qkv.weight").mul_(
                4
            )  # else attention is even, and positions hardly matter
    formats()["hf"].save(frozen_networks(architecture, Networks(encoder, predictor), "random"), folder)
    return folder


def our_encoder(folder: Path, arguments: argparse.Namespace) -> nn.Module:
    """Load the folder as a user does."""
    return load_encoder(folder, device=arguments.device).to(getattr(torch, arguments.dtype))


def paired_encoder(ours: nn.Module, arguments: argparse.Namespace) -> nn.Module:
    """Return an encoder with the weights of ``ours`` and rotary positions that are rotations."""
    encoder, _ = build_networks(architecture_of(arguments.size, "paired"))
    encoder.load_state_dict(ours.state_dict())
    return encoder.requires_grad_(False).eval().to(arguments.device, getattr(torch, arguments.dtype))


def transformers_encoder(folder: Path, arguments: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    """Load the folder into VJEPA2Model; its clips are (B, T, 3, H, W)."""
    from transformers import VJEPA2Model
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    dtype = getattr(torch, arguments.dtype)
    model = VJEPA2Model.from_pretrained(folder, attn_implementation="sdpa", dtype=dtype)
    model.eval().to(arguments.device)

    def run(clip: Tensor) -> Tensor:
        found: Tensor = model(clip.transpose(1, 2), skip_predictor=True).last_hidden_state
        return found

    return run


def upstream_encoder(ours: nn.Module, arguments: argparse.Namespace) -> nn.Module:
    """Build the clone's encoder with the weights of ``ours``."""
    setup, _ = modules(arguments.peer)
    frames, resolution = SHAPES[arguments.size]
    with silence():
        encoder: nn.Module = setup.video_vit.__dict__[f"vit_{arguments.size}"](
            img_size=resolution, num_frames=frames, tubelet_size=2, use_sdpa=True, use_rope=True
        )
    encoder.load_state_dict(ENCODER.theirs(ours.state_dict(), "ours"))
    return encoder.requires_grad_(False).eval().to(arguments.device, getattr(torch, arguments.dtype))


def timm_blocks(ours: nn.Module, arguments: argparse.Namespace) -> nn.Module:
    """Return timm's blocks with the weights of ours, which have the same names."""
    from timm.models.vision_transformer import Block

    width, depth, heads, mlp_ratio = size(arguments.size)

    norm = partial(nn.LayerNorm, eps=NORM_EPS)
    blocks = nn.Sequential(
        *(Block(width, heads, mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth))
    )
    blocks.load_state_dict(ours.get_submodule("blocks").state_dict())
    return blocks.requires_grad_(False).eval().to(arguments.device, getattr(torch, arguments.dtype))


@dataclass(frozen=True)
class Encoders:
    """What is measured."""

    ours: nn.Module
    paired: nn.Module
    same: Runs
    """Others that must give what ours gives."""
    plain: nn.Module
    """Blocks that know no positions."""

    @classmethod
    def load(cls, arguments: argparse.Namespace) -> "Encoders":
        """Give all the same weights."""
        with tempfile.TemporaryDirectory() as place:
            folder = stored(arguments.size, Path(place) / "weights")
            ours = our_encoder(folder, arguments)
            same: Runs = {"transformers": transformers_encoder(folder, arguments)}
        if arguments.peer:
            same["upstream"] = upstream_encoder(ours, arguments)
        return cls(ours, paired_encoder(ours, arguments), same, timm_blocks(ours, arguments))


def entering(ours: nn.Module, clip: Tensor) -> tuple[Any, ...]:
    """Return what an encoder hands to its blocks: tokens, (B, N, D), and where they stand."""
    found: list[tuple[Any, ...]] = []
    hook = ours.get_submodule("blocks").register_forward_pre_hook(lambda _, inputs: found.append(inputs))
    ours(clip)
    hook.remove()
    return found[0]


def difference(one: Tensor, other: Tensor) -> float:
    """Return the distance of two tensors, relative to the norm of the second."""
    return float((one.double() - other.double()).norm() / other.double().norm())


def check(encoders: Encoders, clip: Tensor) -> None:
    """Compare outputs with ours, and timm's blocks with ours without positions. Raises SystemExit where they differ."""
    ours, floor, runs = encoders.ours, encoders.plain, encoders.same
    whole = ours(clip)
    tokens, *_ = entering(ours, clip)
    found = {name: difference(run(clip), whole) for name, run in runs.items()}
    found["timm's blocks, ours without positions"] = difference(
        floor(tokens), ours.get_submodule("blocks")(tokens, None)
    )
    limit = LIMITS[clip.dtype]
    print_table(
        ("outputs, beside ours", "relative difference", "allowed"),
        [
            *((name, f"{value:.1e}", f"{limit:.0e}") for name, value in found.items()),
            ("ours, paired", f"{difference(encoders.paired(clip), whole):.1e}", "any: other positions"),
        ],
    )
    if wrong := [name for name, value in found.items() if not value <= limit]:
        raise SystemExit(f"other outputs than ours: {', '.join(wrong)}")


def flops_of(name: str, clips: int, tokens: int) -> int:
    """Return the FLOPs of the blocks alone."""
    width, depth, heads, mlp_ratio = size(name)
    return clips * Stack(width, depth, heads, mlp_ratio, tokens).flops


def print_times(times: dict[str, Times], flops: int, speed: float) -> None:
    """Print seconds, how many times as long as timm's blocks, and how many times as long as ours."""
    rows = [
        (
            name,
            f"{one.seconds:.4f}",
            f"{flops / one.seconds / 1e9:.0f}",
            ratio(one, times["timm's blocks"]),
            ratio(one, times["ours"]),
        )
        for name, one in times.items()
    ]
    rows.append(("floor: FLOPs of the blocks", f"{flops / speed:.4f}", f"{speed / 1e9:.0f}", "", ""))
    print_table(("", "s", "GFLOP/s", "/ timm's blocks", "/ ours"), rows)


@torch.inference_mode()
def measure(encoders: Encoders, arguments: argparse.Namespace) -> None:
    """Compare, time and print every batch size."""
    device, dtype = arguments.device, getattr(torch, arguments.dtype)
    ours, floor, same = encoders.ours, encoders.plain, encoders.same
    blocks = ours.get_submodule("blocks")
    frames, resolution = SHAPES[arguments.size]
    speed = speed_on(arguments)
    for number, batch in enumerate(arguments.batches):
        clip = torch.randn(batch, 3, frames, resolution, resolution, device=device, dtype=dtype)
        if number == 0:
            check(encoders, clip)
        inside = entering(ours, clip)
        calls = {
            name: bind(run, clip)
            for name, run in {"ours": ours, "ours, paired": encoders.paired, **same}.items()
        }
        calls["ours, blocks"] = bind(blocks, *inside)
        calls["timm's blocks"] = bind(floor, inside[0])
        if arguments.profile:
            for name, call in calls.items():
                print_operators(f"{name}, batch {batch}", call, device)
            continue
        say(
            f"ViT-{arguments.size}, {batch} x {frames} x {resolution}^2, {inside[0].shape[1]} tokens, {dtype}\n"
        )
        times = interleave(calls, rounds=arguments.rounds, warmup=2, device=device)
        print_times(times, flops_of(arguments.size, batch, inside[0].shape[1]), speed)


def bind(run: Callable[..., Any], *inputs: Any) -> Callable[[], object]:
    """Return a call without arguments, in inference mode."""

    def call() -> object:
        return run(*inputs)

    return call


def main() -> None:
    """Measure one size."""
    parser = options(__doc__, rounds=15)
    add_peer(parser, REPOSITORY)
    parser.add_argument("--size", choices=SHAPES, default="small")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, and no times")
    arguments = parser.parse_args()
    print_header(arguments, "transformers", "timm")
    measure(Encoders.load(arguments), arguments)


if __name__ == "__main__":
    main()
