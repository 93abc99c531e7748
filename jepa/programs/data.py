"""`jepa data`: make synthetic videos, and look at a source before training on it."""

from collections import Counter
from pathlib import Path
from typing import Any

from jepa.data.inspect import contact_sheet, example_frames, inspect_source
from jepa.data.sources import open_source
from jepa.data.synthetic import write_dataset
from jepa.errors import DataError
from jepa.programs.naming import clips_at


def synth(
    directory: Path, *, train: int, test: int, frames: int, size: int, fps: int, seed: int
) -> dict[str, Any]:
    """Write a training and a held-out set with lists of both labels; refuses a folder that is not empty."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DataError(f"{directory} is not an empty folder; give a new one")
    write_dataset(directory, train=train, test=test, seed=seed, frames=frames, size=size, fps=fps)
    return {
        "directory": str(directory),
        "train": train,
        "test": test,
        "lists": sorted(p.name for p in directory.glob("*.csv")),
    }


def inspect(source: str, sheet: Path) -> dict[str, Any]:
    """Open every file of a folder, a list or shards; return the counts and write the contact sheet."""
    opened = open_source(clips_at(source))
    summary = inspect_source(opened)
    examples = example_frames(opened)
    if examples:
        contact_sheet(examples, sheet)
    return {
        "source": summary.name,
        "modality": summary.modality,
        "entries": summary.entries,
        "files": summary.files,
        "classes": summary.classes,
        "frames": summary.frames,
        "hours": round(summary.hours, 4),
        "duration_s": dict(zip(("least", "median", "most"), summary.durations_s, strict=True)),
        "fps": _counts(summary.rates_fps),
        "height_x_width": _counts(Counter({f"{h}x{w}": n for (h, w), n in summary.sizes_px.items()})),
        "codecs": _counts(summary.codecs),
        "mean": list(summary.mean),
        "std": list(summary.std),
        "bad": [{"path": bad.path, "reason": bad.reason} for bad in summary.bad],
        "contact_sheet": str(sheet) if examples else None,
    }


def _counts(counter: Counter[Any]) -> dict[str, int]:
    """Return a counter with text keys, most frequent first."""
    return {str(key): count for key, count in counter.most_common()}


def render(summary: dict[str, Any]) -> str:
    """Return the summary as aligned lines."""

    def line(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key}: {number}" for key, number in value.items()) or "none"
        return str(value)

    lines = [f"{name:15} {line(value)}" for name, value in summary.items() if name != "bad"]
    bad = [f"  {entry['path']}: {entry['reason']}" for entry in summary["bad"]]
    return "\n".join([*lines, f"{'bad files':15} {len(bad)}", *bad])
