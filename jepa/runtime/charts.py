"""Line charts as inline SVG: no script, no font, nothing to load, readable at any zoom."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jepa.runtime.axes import (
    COLOURS,
    HEIGHT,
    MARGINS,
    WIDTH,
    Axis,
    across,
    draw_axes,
    headed,
    label,
    upwards,
)

MOST_POINTS = 400
LEGEND_ROW_PX = 16
DASHES = ("", "7 3", "2 3")  # of each further round through the colours


@dataclass(frozen=True, slots=True)
class Series:
    """One line; a y that is not finite leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str = "step",
    log: bool = False,
    log_x: bool = False,
    from_zero: bool = False,
    x_range: tuple[float, float] | None = None,
) -> str:
    """Draw lines over one pair of axes and return an ``<svg>`` element that scales with its container.

    ``log`` draws y on a logarithmic axis and leaves out what is not positive, ``log_x`` does so with x;
    ``from_zero`` starts a linear axis at zero; ``x_range`` makes charts comparable. Without a single point the
    chart says so.
    """
    lines = [Series(one.name, *_visible(one, log, log_x)) for one in series]
    points = [(x, y) for one in lines for x, y in zip(one.x, one.y, strict=True) if math.isfinite(y)]
    if not points:
        return headed(title, [label(WIDTH / 2, HEIGHT / 2, "not measured in this run", anchor="middle")])
    low, high = min(y for _, y in points), max(y for _, y in points)
    if from_zero and not log:
        low, high = min(0.0, low), high or 1.0
    x_axis, x_ticks = across(*(x_range or _ends([x for x, _ in points])), log=log_x)
    y_axis, y_ticks = upwards(low, high, log=log)
    parts = draw_axes(x_axis, y_axis, x_ticks, y_ticks)
    parts.append(label(WIDTH - MARGINS[2], HEIGHT - 4, x_label, anchor="end"))
    for index, one in enumerate(lines):
        parts += _line(one, x_axis, y_axis, index)
    legend, rows = _legend([one.name for one in lines]) if len(lines) > 1 else ([], 1)
    if rows == 1:
        return headed(title, [*parts, *legend])
    lower = (rows - 1) * LEGEND_ROW_PX  # the plot makes room
    moved = [f'<g transform="translate(0 {lower})">', *parts, "</g>"]
    return headed(title, [*moved, *legend], height=HEIGHT + lower)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the smallest and the largest."""
    return min(values), max(values)


def _visible(one: Series, log: bool, log_x: bool) -> tuple[list[float], list[float]]:
    """Return the points to draw: gaps as NaN, and long lines thinned so that every peak stays."""
    pairs = [
        (x, y if math.isfinite(y) and (y > 0 or not log) else math.nan)
        for x, y in zip(one.x, one.y, strict=True)
        if x > 0 or not log_x
    ]
    size = math.ceil(len(pairs) / (MOST_POINTS / 2 - 1))
    if len(pairs) > MOST_POINTS:
        buckets = [pairs[i : i + size] for i in range(0, len(pairs), size)]
        pairs = [*(pair for bucket in buckets for pair in _extremes(bucket)), pairs[-1]]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _extremes(bucket: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the lowest and the highest point in order of x; a bucket without a number stays a gap."""
    real = [pair for pair in bucket if math.isfinite(pair[1])]
    ends = {min(real, key=lambda p: p[1]), max(real, key=lambda p: p[1])} if real else {bucket[0]}
    return sorted(ends)


def _line(one: Series, x_axis: Axis, y_axis: Axis, index: int) -> list[str]:
    """Draw one series, broken at gaps; a point with a gap on both sides becomes a dot."""
    runs: list[list[str]] = [[]]
    for x, y in zip(one.x, one.y, strict=True):
        if math.isfinite(y):
            runs[-1].append(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}")
        elif runs[-1]:
            runs.append([])
    colour, dash = _style(index)
    parts = []
    for run in runs:
        if len(run) == 1:
            x_px, y_px = run[0].split(",")
            parts.append(f'<circle cx="{x_px}" cy="{y_px}" r="2.5" fill="{colour}"/>')
        elif run:
            style = f'fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"{dash}'
            parts.append(f'<polyline points="{" ".join(run)}" {style}/>')
    return parts


def _style(index: int) -> tuple[str, str]:
    """Return the colour of a line, and its dashes as an attribute."""
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    return COLOURS[index % len(COLOURS)], f' stroke-dasharray="{dash}"' if dash else ""


def _legend(names: Sequence[str]) -> tuple[list[str], int]:
    """Name the lines under the title, from the left, in as many rows as they need; return that number too."""
    parts, x, rows = [], float(MARGINS[0]), 1
    for index, name in enumerate(names):
        width = 17 + 6.2 * len(name)
        if x + width > WIDTH and x > MARGINS[0]:
            x, rows = float(MARGINS[0]), rows + 1
        down = (rows - 1) * LEGEND_ROW_PX
        colour, dash = _style(index)
        ends = f'x1="{x:.1f}" y1="{down + 30.5}" x2="{x + 12:.1f}" y2="{down + 30.5}"'
        line = f'<line {ends} stroke="{colour}" stroke-width="2"{dash}/>'
        bar = f'<rect x="{x:.1f}" y="{down + 29}" width="12" height="3" rx="1.5" fill="{colour}"/>'
        parts.append(line if dash else bar)
        parts.append(label(x + 17, down + 34, name, anchor="start"))
        x += width + 16
    return parts, rows
