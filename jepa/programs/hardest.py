"""The held-out examples that a head got most wrong, and what they look like."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa.config.probe import ClipsConfig
from jepa.data.augment import shrink
from jepa.data.decode import bounded, open_media, resolve_decoder
from jepa.data.sources import Entry, Modality
from jepa.data.video import UnreadableError
from jepa.probes.metrics import Task
from jepa.probes.trial import Trial

MOST, FRAMES, HEIGHT_PX = 12, 3, 128
LOOK_BACK_S = 2.0  # shown of the context of an anticipated action
MOST_NUMBERS = 4

RULES: dict[Task, str] = {
    "classes": "Videos whose true class got the lowest probability.",
    "labels": "Videos with the answer farthest from the truth, by their worst label.",
    "values": "Videos with the largest mean error, in standard deviations of the truth.",
}


@dataclass(frozen=True, slots=True)
class Hard:
    """One example: its entry, and what to say about it."""

    entry: int
    lines: tuple[tuple[str, str], ...]
    """Names and texts."""


def hardest(task: Task, trial: Trial, names: Sequence[str], *, most: int = MOST) -> list[Hard]:
    """Return the entries that ``trial`` answered worst, the worst first; ``names`` are its classes or targets."""
    entries = trial.entries.tolist()
    if task == "classes":
        right = trial.scores.gather(1, trial.truth[:, None])[:, 0]  # (E,)
        order = right.argsort(stable=True)[:most].tolist()
        return [Hard(entries[row], _class_lines(trial, row, names)) for row in order]
    if task == "labels":
        error = (trial.scores - trial.truth).abs()  # (E, C)
        order = error.max(dim=1).values.argsort(descending=True, stable=True)[:most].tolist()
        return [
            Hard(entries[row], _label_lines(trial, row, int(error[row].argmax()), names)) for row in order
        ]
    deviation = trial.truth.std(dim=0, correction=0).clamp_min(torch.finfo(torch.float32).tiny)
    error = ((trial.scores - trial.truth).abs() / deviation).mean(dim=1)
    order = error.argsort(descending=True, stable=True)[:most].tolist()
    return [Hard(entries[row], _value_lines(trial, row, names)) for row in order]


def read_frames(entry: Entry, modality: Modality, clips: ClipsConfig) -> Tensor | None:
    """Return frames of an entry, spread over it, (T, H, W, 3) uint8; None when the file cannot be read.

    Where an action is anticipated, they are of the seconds that its context ends with.
    """

    def read() -> Tensor:
        with open_media(entry.path, modality, resolve_decoder(clips.decoder)) as video:
            first, last = _window(entry, video.info.frames, video.info.fps, clips.ahead_s)
            count = min(FRAMES, last - first + 1)
            places = torch.linspace(first, last, count).round().long().tolist()
            return shrink(video.read(places), HEIGHT_PX)

    try:
        return bounded(read, seconds=clips.decode_timeout_s, path=entry.path)
    except UnreadableError:
        return None


def _window(entry: Entry, frames: int, fps: float, ahead_s: float | None) -> tuple[int, int]:
    """Return the first and the last frame to show."""
    if ahead_s is not None:
        last = min(max(0, entry.start - round(ahead_s * fps)), frames - 1)
        return max(0, last - round(LOOK_BACK_S * fps)), last
    last = min(frames if entry.end is None else entry.end, frames) - 1
    return max(0, min(entry.start, last)), last


def _class_lines(trial: Trial, row: int, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Say what a video is, and what it was taken for."""
    true, answer = int(trial.truth[row]), int(trial.scores[row].argmax())
    said = names[answer] if answer != true else "the same"
    return (
        ("true", f"{names[true]}, {_share(trial.scores[row, true])}"),
        ("answered", f"{said}, {_share(trial.scores[row, answer])}"),
    )


def _label_lines(trial: Trial, row: int, worst: int, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Say which labels a video has, and which one was judged worst."""
    has = [names[label] for label in trial.truth[row].nonzero().flatten().tolist()]
    return (
        ("true", ", ".join(has) or "no label"),
        ("answered", f"{names[worst]}, {_share(trial.scores[row, worst])}"),
    )


def _value_lines(trial: Trial, row: int, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Say the true and the predicted numbers."""
    numbers = zip(names, trial.truth[row].tolist(), trial.scores[row].tolist(), strict=True)
    return tuple((name, f"{true:.3g}, predicted {said:.3g}") for name, true, said in numbers)[:MOST_NUMBERS]


def _share(value: Tensor) -> str:
    """Write a probability."""
    return f"{100 * float(value):.1f} %" if float(value) >= 0.001 else "under 0.1 %"
