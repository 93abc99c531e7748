"""How much of the encoder's own speed is left when features are extracted and written to disk.

Run it as ``python -m benchmarks.extraction``. Clips are drawn once and held in memory, so decoding costs nothing. Turn
by turn: the bare forward pass of the encoder over all batches, which is the floor, and the same batches through
`read_features` (with both poolings) into a feature store, pooled features alone and with all tokens.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.pairs import interleave, options, print_header, print_table, ratio
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


def main() -> None:
    """Time the three, and print a table."""
    parser = options(__doc__)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=112)
    chosen = parser.parse_args()
    print_header(chosen)
    encoder = Encoder(ModelConfig(size=chosen.size)).eval()
    clips = torch.randn(chosen.clips, 3, chosen.frames, chosen.resolution, chosen.resolution)
    extracted = partial(extract_aside, encoder, clips, chosen.batch)
    times = interleave(
        {
            "forward pass alone": partial(forward, encoder, clips, chosen.batch),
            "pooled features": partial(extracted, tokens=False),
            "pooled features and all tokens": partial(extracted, tokens=True),
        },
        rounds=chosen.rounds,
    )
    floor = times["forward pass alone"]
    rows = [
        (name, f"{chosen.clips / found.seconds:.1f}", ratio(floor, found)) for name, found in times.items()
    ]
    clip = f"{chosen.size}, {chosen.frames} x {chosen.resolution} px, batch {chosen.batch}"
    print_table((clip, "clips/s", "of the bare forward pass"), rows)


if __name__ == "__main__":
    main()
