"""Matrix products on CPUs, by the faster of the two libraries that torch carries."""

import platform
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

FACTS = Path("/proc/cpuinfo")  # Linux's; elsewhere the platform names the vendor
WORTHWHILE = 1 << 21  # multiply-adds: in smaller products, what a call of oneDNN costs is more than it saves


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias``: (..., K), (N, K), (N,) -> (..., N).

    What `torch.nn.functional.linear` computes, in the same precision; no gradient flows through it, see
    `jepa.models.linear`. torch multiplies float32 on CPUs with MKL, which takes AVX-512 on Intel's processors alone;
    on the AMD one that was measured, oneDNN is twice as fast (benchmarks/RESULTS.md).
    ``torch.backends.mkldnn.set_flags(False)`` switches oneDNN off, here too.
    """
    if takes_onednn(x, weight):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out
    return F.linear(x, weight, bias)


def takes_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether `product` of the two goes to oneDNN: a matter of this machine and the shapes, never of timing."""
    return (
        onednn_is_faster()
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.numel() * len(weight) >= WORTHWHILE
        and not torch.is_autocast_enabled("cpu")
        and is_plain(x)
        and is_plain(weight)
        and torch._C._get_mkldnn_enabled()
    )


def is_plain(tensor: Tensor) -> bool:
    """Whether operations on ``tensor`` run now and as they are: not compiled or exported, no shards, no fakes."""
    return type(tensor) in (Tensor, torch.nn.Parameter) and not torch.compiler.is_compiling()


@cache
def onednn_is_faster() -> bool:
    """Whether torch carries oneDNN, and this machine's processor is AMD's and has AVX-512."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch leaves it so
    there = there and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not there or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    facts = FACTS.read_text() if FACTS.is_file() else platform.processor()
    return "AuthenticAMD" in facts
