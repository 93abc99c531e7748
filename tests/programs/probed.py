"""A probe of features that were drawn, without any encoder: what the reports are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from jepa.config.load import parse
from jepa.config.probe import ProbeConfig
from jepa.data.sources import Entry, Source
from jepa.probes.features import Features
from jepa.programs.evaluate import Probed, Sides, TaskSources, probe_task

SIGNAL = {"pretrained": 3.0, "random init": 1.0, "raw pixels": 0.3}


@dataclass(frozen=True)
class Made:
    """All that a report of a probe asks for."""

    config: ProbeConfig
    probed: Probed
    rows: dict[str, list[Sides]]
    sources: TaskSources


def make(
    folder: Path,
    kind: str = "classes",
    *,
    names: Sequence[str] = ("left", "right", "up"),
    entries: int = 60,
    clips: int = 2,
    seeds: Sequence[int] = (0,),
    heads: Sequence[dict] = ({"kind": "linear", "weight_decays": [0.01, 0.1, 1.0]},),
    missing: Sequence[int] = (),
    poolings: Sequence[str] | None = None,
) -> Made:
    """Draw features that know the truth better the better their row, and probe them.

    Test entries are images of 8 pixels; those at the places ``missing`` are not there.
    """
    draw = torch.Generator().manual_seed(0)
    tables, sources = {}, {}
    for side in ("train", "test"):
        if kind == "classes":
            table = torch.arange(entries) % len(names)
            known = torch.nn.functional.one_hot(table).float()
            listed = [{"label": int(one)} for one in table]
        elif kind == "labels":
            known = (torch.rand(entries, len(names), generator=draw) < 0.4).float()
            known[0, 0] = 1
            listed = [{"labels": tuple(row.nonzero().flatten().tolist())} for row in known]
        else:
            known = torch.randn(entries, len(names), generator=draw)
            listed = [{"targets": tuple(row.tolist())} for row in known]
        paths = [folder / side / f"{number}.png" for number in range(entries)]
        (folder / side).mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(paths):
            if side == "test" and number not in missing:
                Image.new("RGB", (8, 8), (4 * number % 256, 90, 120)).save(path)
        rows = tuple(Entry(str(path), **one) for path, one in zip(paths, listed, strict=True))
        is_values = kind == "values"
        sources[side] = Source(
            side, "image", rows, () if is_values else tuple(names), 1.0, tuple(names) if is_values else ()
        )
        tables[side] = known
    place = torch.arange(entries).repeat_interleave(clips)

    def features(side: str, signal: float) -> Features:
        known = tables[side][place]
        return Features(signal * known + torch.randn(known.shape, generator=draw), place)

    rows = {
        name: [
            Sides(
                *(
                    {"raw": features(side, signal)}
                    if name == "raw pixels"
                    else {"time": features(side, signal), "mean": features(side, signal / 2)}
                    for side in ("train", "test")
                )
            )
        ]
        for name, signal in SIGNAL.items()
    }
    values = {
        "name": "motion",
        "kind": kind,
        "train": {"kind": "images", "path": "train"},
        "test": {"kind": "images", "path": "test"},
        "model": "runs/seven",
        "run_dir": str(folder / "run"),
        "heads": list(heads),
        "seeds": list(seeds),
        "device": "cpu",
    }
    config = parse(values, ProbeConfig)
    opened = TaskSources(sources["train"], sources["test"])
    return Made(config, probe_task(config, rows, opened, seeds=seeds, poolings=poolings), rows, opened)
