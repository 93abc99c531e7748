"""Compare the estimates of `jepa show --hardware` with measured steps: FLOPs, activations and peak memory.

Run it as ``python -m benchmarks.estimates``. With a GPU, memory is what CUDA's allocator reports; on a CPU, the bytes
of all storages that are alive after each of torch's operations, which leaves out what an operation needs inside.
"""

import argparse
import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.memory import PeakMemory
from jepa.config.schema import PretrainConfig
from jepa.data.sources import Modality
from jepa.models.cost import NumberBytes
from jepa.objectives import Objective
from jepa.programs.masking import masks_for
from jepa.programs.pretrain_step import PretrainState, fresh_state, pretrain_step
from jepa.programs.step_cost import StepCost, step_cost
from jepa.programs.step_memory import Setting, network_sizes, step_memory
from jepa.runtime.device import autocast
from jepa.runtime.seeding import generator
from jepa.types import Batch, Masks, Rows


def modality_of(config: PretrainConfig) -> Modality:
    """Return what a step is measured on: images where there are any."""
    return "image" if config.data.has_images else "video"


def random_batch(config: PretrainConfig, modality: Modality, device: str = "cpu", of: int = 1) -> Batch:
    """Draw the part of one of ``of`` processes of a batch of noise, with the masks of step 0."""
    data = config.data
    masks = masks_for(config, modality, data.batch_size, generator(config.seed, "masks", 0))
    rows = data.batch_size // of
    frames = data.frames_per_clip if modality == "video" else 1
    clip = torch.randn(rows, 3, frames, *data.height_width)
    part = tuple(Masks(one.context[:rows], one.target[:rows]) for one in masks)
    return Batch(clip, part, rows=Rows(0, data.batch_size)).to(device)


def counted_flops(objective: Objective, batch: Batch, config: PretrainConfig, *, fused: bool) -> int:
    """Return torch's count of a forward and backward pass, with fused attention or with plain products."""
    kernel = nullcontext() if fused else sdpa_kernel(SDPBackend.MATH)
    with FlopCounterMode(display=False, custom_mapping=flops_of_cpu_kernels()) as counter, kernel:
        with autocast(batch.clip.device, config.dtype):
            loss = objective(batch)["loss"]
        loss.backward()
    return int(counter.get_total_flops())


def flops_of_cpu_kernels() -> dict[Any, Any]:
    """Return how to count what torch's counter does not: oneDNN's products, and in older versions attention on CPUs."""

    def product(x: torch.Size, weight: torch.Size, *_: Any, out_shape: Any) -> int:
        return 2 * x.numel() * weight[0]

    def attention(q: torch.Size, k: torch.Size, v: torch.Size, *_: Any, out_shape: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    def attention_backward(
        grad: torch.Size, q: torch.Size, k: torch.Size, v: torch.Size, *_: Any, out_shape: Any, **__: Any
    ) -> int:
        return sdpa_backward_flop_count(grad, q, k, v)

    flash = "_scaled_dot_product_flash_attention_for_cpu"
    kernels = (
        (torch.ops.mkldnn, "_linear_pointwise", product),
        (torch.ops.aten, flash, attention),
        (torch.ops.aten, f"{flash}_backward", attention_backward),
    )
    return {getattr(room, name): count for room, name, count in kernels if hasattr(room, name)}


def kept_bytes(objective: nn.Module, batch: Batch, config: PretrainConfig) -> int:
    """Return the bytes of storages, but for weights and the batch, that the backward pass has been kept."""
    known = {one.untyped_storage().data_ptr() for one in (*objective.parameters(), batch.clip)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in known and tensor.is_floating_point():
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with autocast(batch.clip.device, config.dtype):
            loss = objective(batch)["loss"]
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def kept_copies(config: PretrainConfig, objective: Objective) -> int:
    """Return the bytes of bfloat16 copies of weights that are among what is kept."""
    if config.dtype == "float32":
        return 0
    encoder = objective.encoder.blocks if config.model.checkpoint_activations else nn.Module()
    networks = (objective.encoder, objective.predictor)
    counts = [sum(one.numel() for one in part.parameters()) for part in (*networks, encoder)]
    return 2 * (counts[0] + counts[1] - counts[2])


def held_tensors(state: PretrainState, batch: Batch) -> list[Tensor]:
    """Return all tensors that a step finds: weights, moments, clips."""
    moments = [value for values in state.optimizer.state.values() for value in values.values()]
    return [*state.objective.parameters(), *state.objective.buffers(), *moments, batch.clip]


def peak_bytes(state: PretrainState, batch: Batch) -> int:
    """Return the largest memory of a step that is not the first."""
    pretrain_step(state, batch)
    state.optimizer.zero_grad(set_to_none=True)
    if batch.clip.is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        pretrain_step(state, batch)
        return torch.cuda.max_memory_allocated()
    with PeakMemory(*held_tensors(state, batch)) as memory:
        pretrain_step(state, batch)
    return memory.largest


def estimated_peak(cost: StepCost, state: PretrainState, batch: Batch, sizes: Any = None) -> int:
    """Return the estimate of the same; the batch is here on the device as a whole, beside the micro-batch."""
    gpu, ranks = batch.clip.is_cuda, state.ranks.size
    setting = Setting.of(state.config, ranks=ranks, gpu=gpu)
    memory = step_memory(cost, sizes or network_sizes(state.objective), setting)
    return memory.peak + batch.clip.nbytes - memory.clips


def measure(config: PretrainConfig, device: str) -> dict[str, float]:
    """Return estimates and measurements of one config."""
    modality = modality_of(config)
    batch = random_batch(config, modality, device)
    state = fresh_state(config, torch.device(device))
    cost = step_cost(config, modality, batch.masks)
    whole = len(batch.clip)
    # The kernels of GPUs for fused attention count as the CPU's do.
    row: dict[str, float] = {
        "flops": whole * cost.hardware_flops,
        "counted": counted_flops(state.objective, batch, config, fused=True),
    }
    state.optimizer.zero_grad(set_to_none=True)
    number = NumberBytes.of(config.dtype, gpu=device == "cuda")
    kept = cost.kept(number, whole) + kept_copies(config, state.objective)
    row |= {"activations": kept, "kept": kept_bytes(state.objective, batch, config)}
    return row | {"peak": estimated_peak(cost, state, batch), "measured": peak_bytes(state, batch)}


def cases(size: str, px: int, batch: int) -> list[tuple[str, PretrainConfig]]:
    """Return configs of every objective, with and without checkpointing and bfloat16."""
    found = []
    for kind in ("vjepa", "ijepa", "lejepa"):
        source = {"kind": "images" if kind == "ijepa" else "synthetic", "path": "unused"}
        blocks = [{"kind": "multiblock", "blocks": n, "scale": s} for n, s in ((8, 0.15), (2, 0.7))]
        masks = {"image": [{"kind": "image_blocks"}]} if kind == "ijepa" else {"video": blocks}
        for dtype in ("float32", "bfloat16"):
            for recompute in (False, True):
                tree = {
                    "run_dir": "unused",
                    "dtype": dtype,
                    "data": {"sources": [source], "stride": 1, "resolution": px, "batch_size": batch},
                    "model": {"size": size, "patch": 16, "checkpoint_activations": recompute},
                    "masks": masks,
                    "objective": {"kind": kind},
                    "optim": {"steps": 10, "learning_rate": 1e-4},
                }
                name = f"{kind}, {dtype}{', checkpointed' if recompute else ''}"
                found.append((name, PretrainConfig.model_validate(tree, strict=False)))
    return found


def main() -> None:
    """Measure every case and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="small")
    parser.add_argument("--px", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    titles = ("step", "GFLOP", "by torch's counter", "kept, MB", "measured", "peak, MB", "measured", "off by")
    sys.stdout.write(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}\n")
    for name, config in cases(args.size, args.px, args.batch):
        row = measure(config, args.device)
        flops = [f"{row[key] / 1e9:,.1f}" for key in ("flops", "counted")]
        sizes = [f"{row[key] / 1e6:,.1f}" for key in ("activations", "kept", "peak", "measured")]
        off = f"{100 * (row['peak'] / row['measured'] - 1):+.1f} %"
        sys.stdout.write(f"| {' | '.join([name, *flops, *sizes, off])} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
