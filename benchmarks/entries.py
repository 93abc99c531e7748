"""Measure what a list of a million entries costs: seconds to read it, memory here and in a worker that reads on.

Run it as ``python benchmarks/entries.py [--entries 1000000] [--folders 1000]``. The list and its (empty) files are
generated; nothing is decoded. Memory is the private resident memory of a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from jepa.config.data import FileSource
from jepa.data.sources import Source, open_sources


def generate(folder: Path, entries: int, folders: int, *, files: bool) -> Path:
    """Write a list with ``entries`` labelled lines; with ``files``, also the (empty) files that it names."""
    per_folder = -(-entries // folders)
    with (folder / "list.csv").open("w") as listed:
        listed.write("path,label,start,end\n")
        for number in range(entries):
            parent = f"part-{number // per_folder:05d}"
            if files and number % per_folder == 0:
                (folder / parent).mkdir(exist_ok=True)
            name = f"{parent}/video-{number:08d}-{number * 7919 % 1000003:06x}.mp4"
            if files:
                os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY))
            listed.write(f"{name},class {number % 400},0,{300 + number % 100}\n")
    return folder / "list.csv"


def memory_mb(kind: str) -> float:
    """Return memory of this process from /proc in MB: VmRSS, VmHWM, or the part shared with nobody."""
    if kind == "private":
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def forked_private_mb(sources: Sequence[Source]) -> float:
    """Return how much private memory a forked child holds after it has looked at every entry."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        before = memory_mb("private")
        labels = sum(entry.label or 0 for source in sources for entry in source.entries)
        os.write(writer, f"{memory_mb('private') - before} {labels}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    return float(os.read(reader, 100).split()[0])


def measure(path: str) -> dict[str, float]:
    """Open the list at ``path`` in this process and return what that cost."""
    base, resident = memory_mb("private"), memory_mb("VmRSS")
    begin, cpu = time.perf_counter(), time.process_time()
    sources = open_sources([FileSource(kind="csv", path=path)])
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    held, peak = memory_mb("private") - base, memory_mb("VmHWM") - resident
    begin = time.perf_counter()
    files = sources[0].files
    return {
        "entries": len(sources[0].entries),
        "files": files,
        "open_s": round(seconds, 2),
        "open_cpu_s": round(cpu, 2),
        "count_files_s": round(time.perf_counter() - begin, 2),
        "held_mb": round(held, 1),
        "peak_mb": round(peak, 1),
        "worker_copies_mb": round(forked_private_mb(sources), 1),
    }


def main() -> None:
    """Generate the list, measure it in a fresh process, and write one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=1000)
    parser.add_argument("--measure", metavar="LIST", help="measure an existing list in this process")
    args = parser.parse_args()
    if args.measure:
        sys.stdout.write(json.dumps(measure(args.measure)) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = generate(Path(folder), args.entries, args.folders, files=True)
        subprocess.run([sys.executable, __file__, "--measure", str(path)], check=True)


if __name__ == "__main__":
    main()
