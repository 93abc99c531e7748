"""Heat maps: every value is where it belongs, and the smallest is darkest."""

import re
from xml.etree import ElementTree

import pytest

from jepa.runtime.heatmap import Mark, heatmap

VALUES = [[3.0, 2.0, 3.0], [1.0, 0.0, 1.0]]


def cells(svg: str) -> list[tuple[float, float, str]]:
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" [^>]*fill="(#\w+)"', svg)
    return [(float(x), float(y), colour) for x, y, colour in found]


def draw(**parts) -> str:
    return heatmap("Field", [-1, 0, 1], [0, 1], VALUES, x_label="a", y_label="b", **parts)


def test_it_is_well_formed_and_has_one_cell_per_value():
    svg = draw(marks=(Mark("here <&>", 0, 0, "#fff"),))
    ElementTree.fromstring(svg)
    assert len(cells(svg)) == 6 and "here &lt;&amp;&gt;" in svg


def test_the_smallest_is_darkest_and_stands_at_its_place():
    drawn = cells(draw())
    darkest = min(drawn, key=lambda cell: int(cell[2][1:3], 16))
    assert darkest[2] == "#08306b"
    xs, ys = sorted({x for x, _, _ in drawn}), sorted({y for _, y, _ in drawn})
    assert darkest[0] == xs[1]  # x = 0, the middle
    assert darkest[1] == ys[0]  # y = 1, the upper row


def test_equal_values_are_drawn():
    ElementTree.fromstring(heatmap("f", [0, 1], [0, 1], [[1, 1], [1, 1]], x_label="a", y_label="b"))


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="values must be 2 rows of 3 numbers"):
        heatmap("f", [0, 1, 2], [0, 1], [[1, 2, 3]], x_label="a", y_label="b")
    with pytest.raises(ValueError, match="two columns and two rows, got 1 and 2"):
        heatmap("f", [0], [0, 1], [[1], [2]], x_label="a", y_label="b")


def test_marks_stand_at_their_places_and_in_the_legend():
    svg = draw(marks=(Mark("corner", 1, 0, "#ff0000"), Mark("other", -1, 1, "#00ff00")))
    drawn = cells(draw())
    crosses = re.findall(r'<path d="M([\d.]+) ([\d.]+)l[^"]*" stroke="(#\w+)" stroke-width="2.4"', svg)
    (x, y, _), (legend_x, legend_y, _) = ([c for c in crosses if c[2] == "#ff0000"][i] for i in (0, 1))
    right, low = max(c[0] for c in drawn), max(c[1] for c in drawn)
    assert float(x) + 5 > right and float(y) + 5 > low  # in the cell of x = 1, y = 0
    assert float(legend_y) > low + 30 and float(legend_x) < float(x)
    assert "corner</text>" in svg and "other</text>" in svg
    height = float(re.search(r'viewBox="0 0 \S+ (\d+)"', svg).group(1))
    assert height > float(legend_y) + 5
