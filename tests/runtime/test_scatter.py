import itertools
import math
from xml.etree import ElementTree

import pytest

from jepa.runtime.scatter import Cloud, coloured, scatter_chart

SVG = "{http://www.w3.org/2000/svg}"


def draw(*clouds: Cloud, **more: bool) -> ElementTree.Element:
    return ElementTree.fromstring(scatter_chart("t", clouds, x_label="across", y_label="up", **more))


def circles(root: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(one.get("cx")), float(one.get("cy"))) for one in root.iter(f"{SVG}circle")]


def texts(root: ElementTree.Element) -> list[str]:
    return [one.text for one in root.iter(f"{SVG}text")]


def test_points_keep_their_proportions():
    (x0, y0), (x1, y1), (x2, y2) = circles(draw(Cloud("a", [0, 1, 2], [0, 2, 4], "#000000")))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert x2 > x0 and y2 < y0


@pytest.mark.parametrize("far", [(0, 9), (9, 0)])
def test_the_diagonal_is_where_both_numbers_are_equal(far):
    equal, other = Cloud("a", [-1, 0.5, 3], [-1, 0.5, 3], "#000000"), Cloud("b", far[:1], far[1:], "#111111")
    root = draw(equal, other, diagonal=True)
    ends = [[float(one.get(name)) for name in ("x1", "y1", "x2", "y2")] for one in root.iter(f"{SVG}line")]
    ((x1, y1, x2, y2),) = [end for end in ends if end[0] != end[2] and end[1] != end[3]]
    for x, y in circles(root)[:3]:
        assert (y - y1) / (y2 - y1) == pytest.approx((x - x1) / (x2 - x1), abs=0.01)
    ticks = [text for text in texts(root) if text.lstrip("-").isdigit()]
    assert len(ticks) > 4 and all(ticks.count(text) == 2 for text in ticks)  # one on each axis


def test_what_is_not_finite_is_left_out():
    root = draw(Cloud("a", [0, math.nan, 1, 2], [0, 1, math.inf, 2], "#000000"))
    assert len(circles(root)) == 2
    assert "nothing to show" in texts(draw(Cloud("a", [math.nan], [0], "#000000")))


def test_twenty_clouds_are_told_apart_and_named_inside_the_picture():
    styles = [coloured(number) for number in range(28)]
    assert len(set(styles)) == 28
    clouds = [Cloud(f"a long name & <{n}>", [n], [n], *coloured(n)) for n in range(20)]
    root = draw(*clouds)
    _, _, width, height = map(float, root.get("viewBox").split())
    places = {one.text: (float(one.get("x")), float(one.get("y"))) for one in root.iter(f"{SVG}text")}
    assert all(cloud.name in places for cloud in clouds)
    legend = [places[cloud.name] for cloud in clouds]
    assert all(0 < x < width and 0 < y < height for x, y in legend)
    for (x1, y1), (x2, y2) in itertools.pairwise(legend):
        assert y2 > y1 or x2 - x1 > 6 * len(clouds[0].name)  # no name stands on another


def test_shapes_are_shapes():
    for shape, tag in (("circle", "circle"), ("square", "rect"), ("triangle", "polygon"), ("cross", "path")):
        root = draw(Cloud("a", [0, 1], [0, 1], "#123456", shape))
        assert len(list(root.iter(f"{SVG}{tag}"))) == 2


def test_a_single_cloud_needs_no_legend():
    assert "only" not in texts(draw(Cloud("only", [0, 1], [0, 1], "#000000")))
    assert {"across", "up"} <= set(texts(draw(Cloud("only", [0, 1], [0, 1], "#000000"))))


def test_one_point_is_drawn():
    assert len(circles(draw(Cloud("a", [5], [5], "#000000"), diagonal=True))) == 1
