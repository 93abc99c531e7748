"""Line charts as inline SVG: no script, no font, nothing to load, readable at any zoom."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's palette, told apart under every common colour blindness; its yellow is too pale on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")
# (left, top, right, bottom) around the plot, in px
MARGINS = (56, 42, 14, 34)
GRID, INK, PALE_INK = "#e6e8eb", "#1f2328", "#59636e"
MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Series:
    """One line; a y that is not finite leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


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
        low, high, at = (
            (math.log10(v) for v in (self.low, self.high, value))
            if self.log
            else (
                self.low,
                self.high,
                value,
            )
        )
        return self.start_px + (at - low) / (high - low) * (self.end_px - self.start_px)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str = "step",
    log: bool = False,
    from_zero: bool = False,
    x_range: tuple[float, float] | None = None,
    width: int = 472,
    height: int = 240,
) -> str:
    """Draw lines over one pair of axes and return an ``<svg>`` element that scales with its container.

    ``log`` draws y on a logarithmic axis and leaves out what is not positive; ``from_zero`` starts a linear
    axis at zero; ``x_range`` makes charts comparable. Without a single point the chart says so.
    """
    lines = [Series(one.name, *_visible(one, log)) for one in series]
    points = [(x, y) for one in lines for x, y in zip(one.x, one.y, strict=True) if math.isfinite(y)]
    parts = [_text(MARGINS[0] - 44, 18, title, anchor="start", size=13, colour=INK, bold=True)]
    if points:
        left, top, right, bottom = MARGINS
        x_low, x_high = x_range or (min(x for x, _ in points), max(x for x, _ in points))
        x_high = x_high if x_high > x_low else x_low + 1
        x_ticks = nice_ticks(x_low, x_high, 6)
        y_low, y_high = min(y for _, y in points), max(y for _, y in points)
        if from_zero and not log:
            y_low, y_high = min(0.0, y_low), y_high or 1.0
        y_ticks = log_ticks(y_low, y_high) if log else nice_ticks(y_low, y_high, 5)
        across = Axis(x_low, x_high, left, width - right)
        up = Axis(y_ticks[0], y_ticks[-1], height - bottom, top, log)
        parts += _axes(across, up, x_ticks, y_ticks)
        parts.append(_text(width - right, height - 4, x_label, anchor="end"))
        for index, one in enumerate(lines):
            parts += _line(one, across, up, COLOURS[index % len(COLOURS)])
        parts += _legend([one.name for one in lines], width) if len(lines) > 1 else []
    else:
        parts.append(_text(width / 2, height / 2, "not measured in this run", anchor="middle"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, -apple-system, Segoe UI, sans-serif">'
        f"{''.join(parts)}</svg>"
    )


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


def _visible(one: Series, log: bool) -> tuple[list[float], list[float]]:
    """Return the points to draw: gaps as NaN, and long lines thinned so that every peak stays."""
    pairs = [
        (x, y if math.isfinite(y) and (y > 0 or not log) else math.nan)
        for x, y in zip(one.x, one.y, strict=True)
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


def _axes(across: Axis, up: Axis, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
    """Draw grid lines and their numbers."""
    parts = []
    for value in y_ticks:
        y = up.place(value)
        parts.append(_rule(across.start_px, y, across.end_px, y, GRID))
        parts.append(_text(across.start_px - 7, y + 3.5, tick_text(value), anchor="end"))
    for value in x_ticks:
        if across.low <= value <= across.high:
            x = across.place(value)
            parts.append(_rule(x, up.start_px, x, up.start_px + 4, PALE_INK))
            parts.append(_text(x, up.start_px + 17, tick_text(value), anchor="middle"))
    parts.append(_rule(across.start_px, up.start_px, across.end_px, up.start_px, PALE_INK))
    return parts


def _line(one: Series, across: Axis, up: Axis, colour: str) -> list[str]:
    """Draw one series, broken at gaps; a point with a gap on both sides becomes a dot."""
    runs: list[list[str]] = [[]]
    for x, y in zip(one.x, one.y, strict=True):
        if math.isfinite(y):
            runs[-1].append(f"{across.place(x):.1f},{up.place(y):.1f}")
        elif runs[-1]:
            runs.append([])
    parts = []
    for run in runs:
        if len(run) == 1:
            x_px, y_px = run[0].split(",")
            parts.append(f'<circle cx="{x_px}" cy="{y_px}" r="2.5" fill="{colour}"/>')
        elif run:
            style = f'fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"'
            parts.append(f'<polyline points="{" ".join(run)}" {style}/>')
    return parts


def _legend(names: Sequence[str], width: int) -> list[str]:
    """Name the lines in one row under the title, from the left."""
    parts, x = [], float(MARGINS[0])
    for index, name in enumerate(names):
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="29" width="12" height="3" rx="1.5" fill="{colour}"/>')
        parts.append(_text(x + 17, 34, name, anchor="start"))
        x += 17 + 6.2 * len(name) + 16
        if x > width - MARGINS[2]:  # what does not fit is left to the colours
            break
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """Draw a hairline."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str, size: int = 11, colour: str = PALE_INK, bold: bool = False
) -> str:
    """Write a label."""
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}"{weight}>{escape(text)}</text>'
