"""What an evaluation of planning found: one row per player, over all seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from jepa.probes.metrics import Measure
from jepa.probes.rates import success_rate
from jepa.programs.episodes import Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One player."""

    player: str
    episodes: int
    success: Measure
    """Share of episodes at their goal when the budget is spent, with its Wilson interval."""
    reached: Measure
    """Share of episodes that were at their goal after some step."""
    by_seed: tuple[float, ...]
    """Success of each seed."""
    start_distance: float
    end_distance: float
    """Means over episodes, in the environment's unit."""
    decision_s: float | None
    """Seconds per search for one plan, all its parallel episodes together; None for what plans nothing."""
    wall_s: float
    """Of all episodes, the environments' steps included."""
    distances: tuple[float, ...]
    """Mean distance to the goal before the first step and after each."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return asdict(self)


def row_of(
    player: str, by_seed: Sequence[Sequence[Outcome]], *, decision_s: Sequence[float], wall_s: float
) -> Row:
    """Sum up the episodes of one player."""
    outcomes = [outcome for seed in by_seed for outcome in seed]
    curve = np.mean([outcome.distances for outcome in outcomes], axis=0)  # (steps + 1,)
    return Row(
        player,
        len(outcomes),
        success=success_rate([outcome.at_end for outcome in outcomes]),
        reached=success_rate([outcome.at_any_step for outcome in outcomes]),
        by_seed=tuple(float(np.mean([outcome.at_end for outcome in seed])) for seed in by_seed),
        start_distance=float(curve[0]),
        end_distance=float(curve[-1]),
        decision_s=float(np.mean(decision_s)) if len(decision_s) else None,
        wall_s=round(wall_s, 2),
        distances=tuple(curve.tolist()),
    )


def success_table(rows: Sequence[Row], *, steps: int, planners: Sequence[str], parallel: int) -> Table:
    """Return the table for a terminal and the report; the rows of ``planners`` stand out.

    ``parallel`` is how many episodes at most one decision was for.
    """
    table = Table(
        title="success",
        caption=f"after exactly {steps} environment steps; 95% Wilson intervals. Reached: at the goal after some step. "
        f"A decision is one search, for up to {parallel} episodes at once.",
    )
    for column in ("player", "episodes", "success", "by seed", "reached", "distance", "s per decision"):
        table.add_column(column, justify="left" if column == "player" else "right")
    for row in rows:
        table.add_row(
            row.player,
            str(row.episodes),
            percent(row.success),
            " ".join(f"{100 * share:.1f}" for share in row.by_seed),
            f"{100 * row.reached.value:.1f}%",
            f"{row.start_distance:.3g} to {row.end_distance:.3g}",
            "" if row.decision_s is None else f"{row.decision_s:.3g}",
            style="bold" if row.player in planners else None,
        )
    return table


def percent(measure: Measure) -> str:
    """Write a share with its interval."""
    return f"{100 * measure.value:.1f}% ({100 * measure.low:.1f}-{100 * measure.high:.1f})"
