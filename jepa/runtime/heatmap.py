"""A function of two variables as inline SVG: a field of colours, and marks on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from jepa.runtime.axes import (
    INK,
    MARGINS,
    WIDTH,
    Axis,
    across,
    draw_axes,
    headed,
    label,
    upwards,
)

SIDE = 400  # px of height, as of a cloud
# Dark blue over white: the smaller, the darker.
DARK, LIGHT = (8, 48, 107), (247, 251, 255)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the field, drawn as a cross."""

    name: str
    x: float
    y: float
    colour: str


def heatmap(
    title: str,
    x: Sequence[float],
    y: Sequence[float],
    values: Sequence[Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    marks: Sequence[Mark] = (),
) -> str:
    """Draw ``values[i][j]`` at (``x[j]``, ``y[i]``), evenly spaced, and return an ``<svg>`` element.

    The smallest value is darkest. Raises ValueError where the sizes do not fit, or where there are less than two
    columns or rows.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a field needs two columns and two rows, got {len(x)} and {len(y)}")
    if len(values) != len(y) or any(len(row) != len(x) for row in values):
        raise ValueError(f"values must be {len(y)} rows of {len(x)} numbers")
    half_x, half_y = ((ends[-1] - ends[0]) / (2 * (len(ends) - 1)) for ends in (x, y))
    x_axis, x_ticks = across(x[0] - half_x, x[-1] + half_x)
    y_axis, y_ticks = upwards(y[0] - half_y, y[-1] + half_y, height=SIDE)
    low, high = min(map(min, values)), max(map(max, values))
    parts = [
        _cell((x_axis, y_axis), (at_x, at_y), (half_x, half_y), (value - low) / max(high - low, 1e-30))
        for at_y, row in zip(y, values, strict=True)
        for at_x, value in zip(x, row, strict=True)
    ]
    parts += draw_axes(x_axis, y_axis, x_ticks, y_ticks)
    parts.append(label(WIDTH - MARGINS[2], SIDE - 4, x_label, anchor="end"))
    parts.append(label(MARGINS[0] - 44, 33, y_label, anchor="start"))
    for number, mark in enumerate(marks):
        parts += _cross(x_axis.place(mark.x), y_axis.place(mark.y), mark.colour)
        parts += _cross(MARGINS[0] + 6 + 150 * number, SIDE + 12, mark.colour)
        parts.append(label(MARGINS[0] + 16 + 150 * number, SIDE + 16, mark.name, anchor="start"))
    return headed(title, parts, height=SIDE + (26 if marks else 0))


def _cell(
    axes: tuple[Axis, Axis], centre: tuple[float, float], half: tuple[float, float], share: float
) -> str:
    """Draw one cell; ``share`` is 0 where the value is smallest."""
    left, right = (axes[0].place(centre[0] + side * half[0]) for side in (-1, 1))
    bottom, top = (axes[1].place(centre[1] + side * half[1]) for side in (-1, 1))
    colour = "#" + "".join(f"{round(d + share * (w - d)):02x}" for d, w in zip(DARK, LIGHT, strict=True))
    # Half a pixel over the edge, so that no line shows between cells.
    size = f'width="{right - left + 0.5:.1f}" height="{bottom - top + 0.5:.1f}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{colour}"/>'


def _cross(x: float, y: float, colour: str) -> list[str]:
    """Draw a cross with a dark rim."""
    arms = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
    return [
        f'<path d="{arms}" stroke="{line}" stroke-width="{width}"/>'
        for line, width in ((INK, 4), (colour, 2.4))
    ]
