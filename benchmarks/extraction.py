"""How much of the encoder's own speed is left when features are extracted and written to disk.

    python benchmarks/extraction.py [--size tiny] [--clips 256] [--threads 2]

Clips are drawn once and held in memory, so decoding costs nothing. Turn by turn, in one run: the bare forward pass of
the encoder over all batches, and the same batches through `read_features` (with both poolings) into a feature store,
pooled features alone and with all tokens. Prints clips per second and the ratio of medians.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from jepa.config.method import ModelConfig
from jepa.data.evaluation import LabelledBatch
from jepa.data.feature_store import FeatureStore, Manifest
from jepa.data.sources import Entry
from jepa.models.encoder import Encoder
from jepa.models.pooling import POOLINGS
from jepa.probes.features import TOKENS, read_features, token_reader
from jepa.programs.extraction import Part


def batches(clips: torch.Tensor, batch: int) -> Iterator[LabelledBatch]:
    """Hand out clips as the reader of files would."""
    for start in range(0, len(clips), batch):
        part = clips[start : start + batch]
        entries = torch.arange(start, start + len(part))
        zeros = torch.zeros_like(entries)
        times = torch.zeros(len(part), part.shape[2], dtype=torch.float64)
        yield LabelledBatch(part, zeros, entries, zeros, zeros, times)


def extract(encoder: Encoder, clips: torch.Tensor, batch: int, folder: Path, *, tokens: bool) -> None:
    """Compute and write features as `jepa embed` does, one shard of 64 clips after the other."""
    kinds = (*POOLINGS, *([TOKENS] if tokens else []))
    manifest = Manifest("0", "m", {}, {}, kinds, "float16", "s", "video", (), (), len(clips), 64)
    entries = [Entry(str(number)) for number in range(len(clips))]
    store = FeatureStore.create(folder, manifest, entries)
    stream = read_features({"0": token_reader(encoder, tokens=tokens)}, batches(clips, batch))
    for shard in store.missing():
        taken = (next(stream) for _ in range(-(-len(store.places(shard)) // batch)))
        part = Part.collect(taken, {"0": manifest})
        store.write(shard, part.clips, part.features["0"], part.bad)


@torch.inference_mode()
def forward(encoder: Encoder, clips: torch.Tensor, batch: int) -> None:
    """Run the encoder and keep nothing."""
    for start in range(0, len(clips), batch):
        encoder(clips[start : start + batch])


def extract_aside(encoder: Encoder, clips: torch.Tensor, batch: int, tokens: bool) -> None:
    """Extract into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        extract(encoder, clips, batch, Path(folder) / "features", tokens=tokens)


def seconds(run: Callable[[], None]) -> float:
    """Time one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    encoder = Encoder(ModelConfig(size=options.size)).eval()
    clips = torch.randn(options.clips, 3, options.frames, options.resolution, options.resolution)
    spent: dict[str, list[float]] = {"forward": [], "pooled": [], "pooled and tokens": []}
    forward(encoder, clips[: options.batch], options.batch)  # warm up
    for _ in range(options.rounds):
        spent["forward"].append(seconds(partial(forward, encoder, clips, options.batch)))
        for name, tokens in (("pooled", False), ("pooled and tokens", True)):
            spent[name].append(seconds(partial(extract_aside, encoder, clips, options.batch, tokens)))
    floor = statistics.median(spent["forward"])
    print(
        f"{options.size}, {options.frames} x {options.resolution} px, batch {options.batch}, {options.threads} threads"
    )
    for name, times in spent.items():
        middle = statistics.median(times)
        print(
            f"{name:18} {options.clips / middle:8.1f} clips/s   {floor / middle:6.1%} of the bare forward pass"
        )


if __name__ == "__main__":
    main()
