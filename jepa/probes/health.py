"""Label-free signs of health: do features of different clips differ, and in how many directions?"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.spectrum import alpha_req, check_views, clip_directions, effective_rank, lidar, std_spectrum
from jepa.probes.sphere import alignment, uniformity


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What features of unlabelled clips say of their encoder; each number's limits stand where it is computed."""

    clips: int
    views: int
    width: int
    rankme: float
    alpha: float  # NaN where too few directions are left to fit
    uniformity: float
    mean_std: float
    relative_std: float
    std_spectrum: tuple[float, ...]
    lidar: float | None  # these three need several views of each clip
    clip_directions: float | None
    alignment: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, NaN as None, as summary.json holds them."""
        plain = {
            key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(self).items()
        }
        return plain | {"std_spectrum": list(self.std_spectrum)}

    def render(self, name: str = "encoder") -> Table:
        """Return a table with one row, for a terminal."""
        return health_table({name: self})


def health_report(views: Tensor) -> HealthReport:
    """Measure (n, V, D) features of V views of n clips; the numbers that need one view are of the first.

    Views are other moments, crops or noises of one video; best are those that change what the task does not need.
    Raises DataError when features are not finite, or for fewer than 2 clips.
    """
    check_views(views, least=1)
    first, several = views[:, 0], views.shape[1] > 1
    spectrum = std_spectrum(first)
    return HealthReport(
        clips=views.shape[0],
        views=views.shape[1],
        width=views.shape[2],
        rankme=effective_rank(first),
        alpha=alpha_req(first),
        uniformity=uniformity(first),
        mean_std=spectrum.mean_std,
        relative_std=spectrum.relative,
        std_spectrum=spectrum.directions,
        lidar=lidar(views) if several else None,
        clip_directions=clip_directions(views) if several else None,
        alignment=alignment(views) if several else None,
    )


def health_table(reports: Mapping[str, HealthReport]) -> Table:
    """Return one row per encoder, for a terminal."""
    table = Table(title="health without labels", caption="- needs several views of each clip")
    table.add_column("encoder")
    columns = ("clip_directions", "lidar", "rankme", "alpha", "uniformity", "alignment", "relative_std")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, report in reports.items():
        numbers = [getattr(report, column) for column in columns]
        table.add_row(name, *("-" if number is None else f"{number:.3g}" for number in numbers))
    return table


def rank_encoders(reports: Mapping[str, HealthReport]) -> list[str]:
    """Return the names by ``clip_directions``, the healthiest first.

    Of all measures here it alone put collapsed, untrained and trained encoders in order where that was tried; the
    others count noise as health. Raises DataError unless all reports are of as many clips, views and features.
    """
    shapes = {(report.clips, report.views, report.width) for report in reports.values()}
    strengths = {name: report.clip_directions for name, report in reports.items()}
    if len(shapes) > 1 or None in strengths.values():
        raise DataError(
            f"encoders are ranked on the same clips with 2 views or more, got (clips, views, width) {sorted(shapes)}"
        )
    return sorted(reports, key=lambda name: -(strengths[name] or 0.0))


def collapse_warning(signals: Mapping[str, float], width: int) -> str | None:
    """Say in plain words that features collapse, with the values that show it, or return None.

    Reads ``effective_rank`` (of at most ``width``) and ``target_std`` where they are given. The limits are low on
    purpose: a healthy run stays far above both. Predictions say nothing here: a fresh predictor's are all alike.
    """
    signs = []
    rank, spread = _measured(signals, "effective_rank"), _measured(signals, "target_std")
    if rank is not None and rank < min(2.0 + 0.01 * width, 0.5 * width):
        signs.append(f"effective rank {rank:.1f} of {width}")
    if spread is not None and spread < 0.02:
        signs.append(f"target std {spread:.2g}")
    if not signs:
        return None
    return (
        f"features collapse: {', '.join(signs)}; different clips are given nearly the same features. "
        "Early in a run this can pass. If it lasts: lower optim.learning_rate, lengthen optim.warmup_steps, "
        "move objective.momentum closer to 1, or use objective.kind: lejepa, whose loss forbids it."
    )


def _measured(signals: Mapping[str, float], key: str) -> float | None:
    """Return the signal called ``key`` when it was measured and is a number."""
    value = signals.get(key)
    return None if value is None or math.isnan(value) else float(value)
