import math
import re
from xml.etree import ElementTree

import pytest

from jepa.runtime.axes import COLOURS
from jepa.runtime.charts import Series, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def lines(svg: str) -> list[list[tuple[float, float]]]:
    found = [line.get("points", "") for line in parse(svg).iter(f"{SVG}polyline")]
    return [[tuple(map(float, point.split(","))) for point in text.split()] for text in found]


def test_points_keep_their_proportions():
    (points,) = lines(line_chart("t", [Series("a", [0, 50, 100], [0, 2, 4])]))
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y2 < y0  # up is up


def test_log_axis_makes_factors_equal_and_drops_what_has_no_logarithm():
    (points,) = lines(line_chart("t", [Series("a", [0, 1, 2], [0.1, 1, 10])], log=True))
    heights = [y for _, y in points]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert sum(map(len, lines(line_chart("t", [Series("a", [0, 1, 2, 3], [0, -1, 1, 2])], log=True)))) == 2


def test_what_is_not_finite_leaves_a_gap():
    svg = line_chart("t", [Series("a", range(5), [1, 2, math.nan, 2, math.inf])])
    assert [len(line) for line in lines(svg)] == [2]
    assert len(list(parse(svg).iter(f"{SVG}circle"))) == 1  # a lone point is seen
    assert "nan" not in svg and "inf" not in svg


def test_nothing_to_draw_is_said():
    assert "not measured" in line_chart("t", [])
    assert "not measured" in line_chart("t", [Series("a", [1], [math.nan])])


def test_one_point_and_equal_values_are_drawn():
    assert len(list(parse(line_chart("t", [Series("a", [7], [3])])).iter(f"{SVG}circle"))) == 1
    assert len(lines(line_chart("t", [Series("a", [0, 1], [3, 3])]))) == 1


def test_long_lines_are_thinned_and_peaks_stay():
    values = [0.0] * 20_000
    values[12_345] = 9.0
    (points,) = lines(line_chart("t", [Series("a", range(20_000), values)]))
    (small,) = lines(line_chart("t", [Series("a", [0, 12_345, 19_999], [0, 9, 0])]))
    assert len(points) <= 400
    assert min(points, key=lambda p: p[1]) == pytest.approx(small[1], abs=0.2)


def test_everything_stays_inside_and_is_escaped():
    svg = line_chart(
        "a < b & c", [Series("x<y", range(30), [i**2 - 100 for i in range(30)]), Series("z", [0], [1e7])]
    )
    root = parse(svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    for x, y in [point for line in lines(svg) for point in line]:
        assert 0 <= x <= width and 0 <= y <= height
    assert "a < b & c" in [text.text for text in root.iter(f"{SVG}text")]


def test_legend_names_several_lines_in_their_colours_and_one_line_needs_none():
    both = line_chart("t", [Series("target std", [0, 1], [0, 1]), Series("prediction std", [0, 1], [1, 0])])
    texts = [text.text for text in parse(both).iter(f"{SVG}text")]
    assert "target std" in texts and "prediction std" in texts
    strokes = re.findall(r'<polyline[^>]*stroke="(#\w+)"', both)
    assert strokes == list(COLOURS[:2]) == re.findall(r'<rect[^>]*fill="(#\w+)"', both)
    assert "target std" not in line_chart("t", [Series("target std", [0, 1], [0, 1])])


def test_axes_can_start_at_zero_and_share_a_range():
    high = [Series("a", [10, 20], [100, 101])]
    assert ">0</text>" in line_chart("t", high, from_zero=True, x_range=(0, 40))
    assert ">-" not in line_chart("t", [Series("a", [0, 1], [0, 0])], from_zero=True)  # no axis below zero
    (points,) = lines(line_chart("t", high, x_range=(0, 40)))
    (alone,) = lines(line_chart("t", [Series("a", [0, 10, 20, 40], [100] * 4)]))
    assert [x for x, _ in points] == pytest.approx([alone[1][0], alone[2][0]], abs=0.2)


def test_a_logarithmic_x_makes_factors_equal_and_drops_what_has_no_logarithm():
    (points,) = lines(line_chart("t", [Series("a", [0, 0.01, 0.1, 1], [5, 1, 2, 3])], log_x=True))
    across = [x for x, _ in points]
    assert len(across) == 3
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert len(list(parse(line_chart("t", [Series("a", [0.1], [3])], log_x=True)).iter(f"{SVG}circle"))) == 1


def test_more_lines_than_colours_are_told_apart_by_dashes():
    many = [Series(f"{n}", [0, 1], [n, n]) for n in range(2 * len(COLOURS))]
    styles = re.findall(
        r'<polyline[^>]*stroke="(#\w+)"[^>]*?(stroke-dasharray="[^"]+")?/>', line_chart("t", many)
    )
    assert len(styles) == len(set(styles)) == len(many)


def test_a_legend_of_many_long_names_takes_rows_and_none_is_cut():
    names = ["CEM, learned distance", "CEM, latent distance", "random", "behaviour cloning", "simulator"]
    lines_of = [Series(name, [0, 1], [place, 1]) for place, name in enumerate(names)]
    many, few = (parse(line_chart("t", lines_of[:count])) for count in (5, 2))
    _, _, width, height = map(float, many.get("viewBox").split())
    texts = {text.text: text for text in many.iter(f"{SVG}text")}
    places = [(float(texts[name].get("x")), float(texts[name].get("y"))) for name in names]
    assert all(x + 6.2 * len(name) <= width for (x, _), name in zip(places, names, strict=True))
    assert len(set(places)) == 5 and places == sorted(places, key=lambda place: (place[1], place[0]))
    # The plot lies lower by what the picture grew, so that the legend is not drawn over it.
    lower = height - float(few.get("viewBox").split()[3])
    (group,) = many.iter(f"{SVG}g")
    assert lower == places[-1][1] - places[0][1] > 0 and group.get("transform") == f"translate(0 {lower:g})"
    assert len(list(group.iter(f"{SVG}polyline"))) == 5
    assert not list(few.iter(f"{SVG}g"))
