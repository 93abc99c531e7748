"""Dense probes on synthetic videos, whose masks are exact: an encoder beside what needs no training."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from rich.table import Table

from jepa.config.data import ReadConfig, SyntheticSource
from jepa.data.synthetic import APPEARANCES
from jepa.errors import DataError
from jepa.models.clip_encoder import ClipEncoder
from jepa.models.frozen import Frozen
from jepa.probes.dense import FIT_TOKENS, DenseSet, SegmentationScore, segmentation_probe, segmentation_score
from jepa.probes.metrics import Measure
from jepa.probes.table import PRETRAINED, RANDOM_INIT
from jepa.probes.tracking import (
    Propagation,
    TrackingScore,
    copied_labels,
    token_shares,
    tracking_probe,
    tracking_score,
)
from jepa.programs.dense_sets import dense_sets
from jepa.types import Grid

NOTHING, COPY, EXACT = "background only", "first mask copied", "exact masks per token"


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """How much is measured."""

    train_videos: int = 512
    """First videos of the training source, to fit the segmentation on."""
    test_videos: int = 256
    """First videos of the test source."""
    fit_tokens: int = FIT_TOKENS
    """Training tokens to fit the segmentation on, at most; time grows with it."""
    frames: int | None = None
    """Frames of a clip to segment, the centre clip; None is what the encoder was trained on."""
    tracked_frames: int | None = None
    """Frames of a clip to track; None is as many as the videos have, cut to whole tubelets."""
    propagation: Propagation = Propagation()
    """How masks are carried through time."""
    seed: int = 0
    """Of the draw of tokens to fit on, the cut that chooses a weight decay, and the bootstrap."""

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("train_videos", "test_videos", "fit_tokens")}
        if min(counts.values()) < 1:
            raise DataError(
                f"{', '.join(f'{name} {count}' for name, count in counts.items())}: each must be 1 or more"
            )


@dataclass(frozen=True, slots=True)
class DenseRow:
    """One line: whose tokens, and how well they segment and track."""

    name: str
    segmentation: SegmentationScore | None  # None where it makes no sense
    tracking: TrackingScore | None


@dataclass(frozen=True, slots=True)
class DenseTable:
    """Segmentation and tracking of every row on the same clips."""

    rows: tuple[DenseRow, ...]
    classes: tuple[str, ...]
    segmented: Grid
    tracked: Grid
    train_size: int
    test_size: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as summary.json holds them."""
        return {
            "classes": list(self.classes),
            "segmented_grid": list(self.segmented),
            "tracked_grid": list(self.tracked),
            "train_size": self.train_size,
            "test_size": self.test_size,
            "rows": [_plain(row) for row in self.rows],
        }

    def results(self) -> dict[str, dict[str, float]]:
        """Return the numbers that lead, by name: token mIoU and tracking J of every row."""
        cuts = {
            f"token mIoU, {row.name}": asdict(row.segmentation.mean_iou)
            for row in self.rows
            if row.segmentation
        }
        tracks = {
            f"tracking J, {row.name}": asdict(row.tracking.region_iou) for row in self.rows if row.tracking
        }
        return cuts | tracks

    def render(self) -> Table:
        """Return the table for a terminal; the encoder's line is bold."""
        t, h, w = self.segmented
        caption = (
            f"{self.train_size} clips to fit, {self.test_size} held out; {t} x {h} x {w} tokens segmented into "
            f"{len(self.classes)} classes, {self.tracked.time} steps tracked; ± is half a 95% interval"
        )
        table = Table(title="dense probes: synthetic shapes", caption=caption)
        table.add_column("features")
        for column in ("token mIoU", "pixel mIoU", "shape IoU", "tracking J"):
            table.add_column(column, justify="right")
        for row in self.rows:
            cut, track = row.segmentation, row.tracking
            values = [None] * 3 if cut is None else [cut.mean_iou, cut.pixel_mean_iou, cut.foreground_iou]
            cells = [_percent(value) for value in [*values, None if track is None else track.region_iou]]
            table.add_row(row.name, *cells, style="bold" if row.name == PRETRAINED else None)
        return table


def dense_table(
    model: Frozen,
    train: SyntheticSource,
    test: SyntheticSource,
    *,
    settings: DenseSettings | None = None,
    device: torch.device | str = "cpu",
) -> DenseTable:
    """Segment and track the shapes of synthetic videos with frozen tokens, beside baselines.

    Rows: the encoder; the same before its training; the pixels of each tubelet, flattened; its mean colour; then
    answers that look at nothing, and what exact masks at the size of a token would reach. Segmentation is fitted on
    ``train``, scored once on ``test``, into background and the 8 appearances; tracking needs ``test`` alone, and
    tells shape from background. Raises DataError for videos that cannot be read and clips that are too short.
    """
    settings = settings or DenseSettings()
    untrained = model.untrained(model.seed).encoder.to(device)
    encoders = {PRETRAINED: model.encoder, RANDOM_INIT: untrained}
    length = settings.frames or (model.read.frames_per_clip if model.read else min(train.frames, test.frames))
    read = reading(model, frames=length)
    fitted = dense_sets(encoders, train, read, videos=settings.train_videos, device=device)
    held_out = dense_sets(encoders, test, read, videos=settings.test_videos, device=device)
    cuts = {
        name: segmentation_probe(
            fitted[name], held_out[name], fit_tokens=settings.fit_tokens, seed=settings.seed
        )
        for name in fitted
    } | _blind_cuts(held_out[PRETRAINED], seed=settings.seed)
    moving = _moving_sets(model, encoders, test, settings, device)
    tracks = {
        name: tracking_probe(one, settings.propagation, seed=settings.seed) for name, one in moving.items()
    } | _blind_tracks(moving[PRETRAINED], seed=settings.seed)
    names = dict.fromkeys([*fitted, NOTHING, COPY, EXACT])
    return DenseTable(
        rows=tuple(DenseRow(name, cuts.get(name), tracks.get(name)) for name in names),
        classes=("background", *APPEARANCES),
        segmented=held_out[PRETRAINED].grid,
        tracked=moving[PRETRAINED].grid,
        train_size=len(fitted[PRETRAINED].tokens),
        test_size=len(held_out[PRETRAINED].tokens),
    )


def _moving_sets(
    model: Frozen,
    encoders: Mapping[str, ClipEncoder],
    test: SyntheticSource,
    settings: DenseSettings,
    device: torch.device | str,
) -> dict[str, DenseSet]:
    """Return the sets to track on: longer clips, and every shape of one class."""
    longer = reading(model, frames=settings.tracked_frames or whole_tubelets(model.encoder, test.frames))
    moving = dense_sets(encoders, test, longer, videos=settings.test_videos, device=device)
    return {name: replace(one, pixels=one.pixels.clamp_max(1)) for name, one in moving.items()}


def reading(model: Frozen, *, frames: int) -> ReadConfig:
    """Return how clips of ``frames`` neighbouring frames are cut for ``model``.

    Raises DataError when they are no whole tubelets.
    """
    encoder = model.encoder
    own = {"resolution": encoder.resolution, "mean": encoder.mean, "std": encoder.std}
    if frames % encoder.tubelet or frames < 1:
        raise DataError(
            f"clips of {frames} frames cannot be cut into tubelets of {encoder.tubelet}; choose a multiple of that"
        )
    base = model.read or ReadConfig(workers=0)
    return base.model_copy(update={**own, "frames_per_clip": frames, "fps": None, "stride": 1})


def whole_tubelets(encoder: ClipEncoder, frames: int) -> int:
    """Return the largest number of frames that the encoder cuts into whole tubelets."""
    return max(1, frames // encoder.tubelet) * encoder.tubelet


def _blind_cuts(test: DenseSet, *, seed: int) -> dict[str, SegmentationScore]:
    """Score the answer that is always background, and the exact class of each token."""
    exact = F.one_hot(test.token_labels(), int(test.pixels.max()) + 1).float()  # (n, N, C)
    nothing = torch.zeros_like(exact)
    nothing[..., 0] = 1
    answers = {NOTHING: nothing, EXACT: exact}
    return {name: segmentation_score(answer, test, seed=seed) for name, answer in answers.items()}


def _blind_tracks(moving: DenseSet, *, seed: int) -> dict[str, TrackingScore]:
    """Score the first mask at every step, and the exact share of the shape in each token."""
    answers = {COPY: copied_labels(moving), EXACT: token_shares(moving)}
    return {name: tracking_score(answer, moving, seed=seed) for name, answer in answers.items()}


def _plain(row: DenseRow) -> dict[str, Any]:
    """Return a row as plain numbers and lists."""
    cut = row.segmentation
    return {
        "name": row.name,
        "segmentation": None if cut is None else asdict(cut) | {"confusion": cut.confusion.tolist()},
        "tracking": None if row.tracking is None else asdict(row.tracking),
    }


def _percent(found: Measure | None) -> str:
    """Return a share with half its interval."""
    return "" if found is None else f"{100 * found.value:.1f}% ± {50 * (found.high - found.low):.1f}"
