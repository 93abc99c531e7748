"""Clouds of points as inline SVG, told apart by colour and shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jepa.runtime.axes import (
    COLOURS,
    GRID,
    MARGINS,
    PALE_INK,
    WIDTH,
    Axis,
    across,
    draw_axes,
    headed,
    label,
    nice_ticks,
    rule,
    upwards,
)

SHAPES = ("circle", "square", "triangle", "cross")
SIDE = 400  # px of height: a cloud is as wide as it is high
LINE_PX, LETTER_PX, SIZE_PX = 16, 6.2, 3.0


@dataclass(frozen=True, slots=True)
class Cloud:
    """Points that belong together."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    shape: str = "circle"


def coloured(number: int) -> tuple[str, str]:
    """Return colour and shape of the cloud with this number: different ones for the first 28."""
    return COLOURS[number % len(COLOURS)], SHAPES[number // len(COLOURS) % len(SHAPES)]


def scatter_chart(
    title: str, clouds: Sequence[Cloud], *, x_label: str, y_label: str, diagonal: bool = False
) -> str:
    """Draw clouds over one pair of axes, with a legend below, and return an ``<svg>`` element.

    ``diagonal`` gives both axes the same range and draws the line where x equals y. A point that is not finite is
    left out; without any the chart says so.
    """
    shown = [Cloud(one.name, *_finite(one), one.colour, one.shape) for one in clouds]
    x, y = [x for one in shown for x in one.x], [y for one in shown for y in one.y]
    if not x:
        return headed(title, [label(WIDTH / 2, SIDE / 2, "nothing to show", anchor="middle")], height=SIDE)
    x_ends, y_ends = (min(x), max(x)), (min(y), max(y))
    if diagonal:
        x_ends = y_ends = (min(x_ends[0], y_ends[0]), max(x_ends[1], y_ends[1]))
    x_ticks = nice_ticks(*x_ends, 5)
    x_axis, _ = across(x_ticks[0], x_ticks[-1])
    y_axis, y_ticks = upwards(*y_ends, height=SIDE)
    parts = draw_axes(x_axis, y_axis, x_ticks, y_ticks)
    parts += [_upright_grid(x_axis, y_axis, value) for value in x_ticks]
    if diagonal:
        low, high = x_ticks[0], x_ticks[-1]  # of both axes
        parts.append(
            rule(x_axis.place(low), y_axis.place(low), x_axis.place(high), y_axis.place(high), PALE_INK)
        )
    parts.append(label(WIDTH - MARGINS[2], SIDE - 4, x_label, anchor="end"))
    parts.append(label(MARGINS[0] - 44, 33, y_label, anchor="start"))
    for one in shown:
        parts += [
            _mark(x_axis.place(x), y_axis.place(y), one.shape, one.colour)
            for x, y in zip(one.x, one.y, strict=True)
        ]
    legend, lines = _legend(shown) if len(shown) > 1 else ([], 0)
    return headed(title, [*parts, *legend], height=SIDE + lines * LINE_PX + (8 if lines else 0))


def _finite(one: Cloud) -> tuple[list[float], list[float]]:
    """Return the points that can be drawn."""
    pairs = [
        (x, y) for x, y in zip(one.x, one.y, strict=True) if math.isfinite(float(x)) and math.isfinite(y)
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _upright_grid(x_axis: Axis, y_axis: Axis, value: float) -> str:
    """Draw one upright grid line."""
    at = x_axis.place(value)
    return rule(at, y_axis.start_px, at, y_axis.end_px, GRID)


def _mark(x: float, y: float, shape: str, colour: str) -> str:
    """Draw one point; it is see-through, so that crowds look dense."""
    r, style = SIZE_PX, f'fill="{colour}" fill-opacity="0.65"'
    if shape == "square":
        side = 1.8 * r
        return f'<rect x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" height="{side:.1f}" {style}/>'
    if shape == "triangle":
        corners = f"{x:.1f},{y - 1.2 * r:.1f} {x - 1.1 * r:.1f},{y + 0.8 * r:.1f} {x + 1.1 * r:.1f},{y + 0.8 * r:.1f}"
        return f'<polygon points="{corners}" {style}/>'
    if shape == "cross":
        arms = f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
        return f'<path d="{arms}" stroke="{colour}" stroke-width="1.6" stroke-opacity="0.8"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" {style}/>'


def _legend(clouds: Sequence[Cloud]) -> tuple[list[str], int]:
    """Name the clouds below the plot, in as many lines as they need; return the parts and the number of lines."""
    parts: list[str] = []
    x, line, end = float(MARGINS[0]), 0, WIDTH - MARGINS[2]
    for one in clouds:
        name = one.name if len(one.name) <= 40 else one.name[:39] + "…"
        width = 14 + LETTER_PX * len(name) + 12
        if x > MARGINS[0] and x + width > end:
            x, line = float(MARGINS[0]), line + 1
        y = SIDE + 10 + line * LINE_PX
        parts.append(_mark(x + 4, y, one.shape, one.colour))
        parts.append(label(x + 13, y + 4, name, anchor="start"))
        x += width
    return parts, line + 1
