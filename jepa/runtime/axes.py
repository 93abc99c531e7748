"""What charts share: colours, axes with round numbers, and the few shapes of SVG they are drawn with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's palette, told apart under every common colour blindness; its yellow is too pale on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")
WIDTH, HEIGHT = 472, 240  # px; a chart scales with its container
# (left, top, right, bottom) around the plot, in px
MARGINS = (56, 42, 18, 34)
GRID, INK, PALE_INK = "#e6e8eb", "#1f2328", "#59636e"


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values lie on one side of the plot."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return the pixel of ``value``."""
        places = (self.low, self.high, value)
        low, high, at = (math.log10(place) for place in places) if self.log else places
        return self.start_px + (at - low) / (high - low) * (self.end_px - self.start_px)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about ``count`` round numbers, 1, 2 or 5 times a power of ten apart, from <= low to >= high."""
    if high <= low:
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten from <= low to >= high; below two decades, also 2 and 5 times them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    if high / low >= 100:
        stride = max(1, math.ceil((last - first) / 6))
        return [10.0**power for power in range(first, last + stride, stride)]
    fine = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    first, last = (
        max(i for i, t in enumerate(fine) if t <= low),
        min(i for i, t in enumerate(fine) if t >= high),
    )
    return fine[first : max(last, first + 1) + 1]


def tick_text(value: float) -> str:
    """Write an axis number briefly: 0, .05 as 0.05, 20k, 1.5M, 2e-05."""
    size = abs(value)
    if size != 0 and (size < 1e-3 or size >= 1e9):
        return f"{value:.2g}"
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e6 if unit == 'M' else 1e3):.4g}{unit}"
    return f"{value:.4g}"


def across(low: float, high: float, *, log: bool = False) -> tuple[Axis, list[float]]:
    """Return the axis of x from ``low`` to ``high`` exactly, and its ticks; those outside are not drawn."""
    left, _, right, _ = MARGINS
    if log:
        high = high if high > low else 10 * low
        return Axis(low, high, left, WIDTH - right, log), log_ticks(low, high)
    high = high if high > low else low + 1
    return Axis(low, high, left, WIDTH - right), nice_ticks(low, high, 6)


def upwards(low: float, high: float, *, log: bool = False, height: int = HEIGHT) -> tuple[Axis, list[float]]:
    """Return the axis of y, from the tick at or below ``low`` to the one at or above ``high``, and its ticks."""
    _, top, _, bottom = MARGINS
    ticks = log_ticks(low, high) if log else nice_ticks(low, high, 5)
    return Axis(ticks[0], ticks[-1], height - bottom, top, log), ticks


def draw_axes(x: Axis, y: Axis, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
    """Draw grid lines and their numbers."""
    parts = []
    for value in y_ticks:
        at = y.place(value)
        parts.append(rule(x.start_px, at, x.end_px, at, GRID))
        parts.append(label(x.start_px - 7, at + 3.5, tick_text(value), anchor="end"))
    for value in x_ticks:
        if x.low <= value <= x.high:
            at = x.place(value)
            parts.append(rule(at, y.start_px, at, y.start_px + 4, PALE_INK))
            parts.append(label(at, y.start_px + 17, tick_text(value), anchor="middle"))
    parts.append(rule(x.start_px, y.start_px, x.end_px, y.start_px, PALE_INK))
    return parts


def rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """Draw a hairline."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def label(
    x: float, y: float, text: str, *, anchor: str, size: int = 11, colour: str = PALE_INK, bold: bool = False
) -> str:
    """Write a few words."""
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}"{weight}>{escape(text)}</text>'


def headed(title: str, parts: Sequence[str], *, height: int = HEIGHT) -> str:
    """Put a title over ``parts`` and return the ``<svg>`` element."""
    top = label(MARGINS[0] - 44, 18, title, anchor="start", size=13, colour=INK, bold=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, -apple-system, Segoe UI, sans-serif">'
        f"{top}{''.join(parts)}</svg>"
    )
