"""Where the time of one call goes, by torch's operators."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from benchmarks.pairs import print_table

SHOWN = 16


def print_operators(name: str, run: Callable[[], object], device: str) -> None:
    """Print the operators that take most of the time of ``run`` for themselves, the longest first."""
    gpu = device.startswith("cuda")
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds) as found:
        run()
    spent = [
        (one.self_device_time_total if gpu else one.self_cpu_time_total, one.key, one.count)
        for one in found.key_averages()
    ]
    whole = sum(time for time, _, _ in spent)
    rows = [
        (key, f"{time / 1e3:.1f}", f"{time / whole:.1%}", count)
        for time, key, count in sorted(spent, reverse=True)[:SHOWN]
    ]
    print_table((f"{name}: operator", "own ms", "of all", "calls"), rows)
