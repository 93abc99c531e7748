from dataclasses import replace

import pytest

from jepa.probes.metrics import Measure
from jepa.probes.table import ProbeRow, ProbeTable
from jepa.probes.verdict import judge, measure_of, verdicts

SPREAD = 0.05


def made(
    scores: dict[str, float], *, metric: str = "accuracy", spread: float = SPREAD, balanced: float = 0.5
) -> ProbeTable:
    rows = []
    for name, value in scores.items():
        found = {metric: Measure(value, value - spread, value + spread)}
        if metric == "accuracy":
            found["balanced accuracy"] = Measure(balanced, balanced - spread, balanced + spread)
        rows.append(ProbeRow(name, "" if name in ("chance", "majority class") else "linear", None, (found,)))
    kind = "classes" if metric == "accuracy" else "values"
    return ProbeTable("motion", kind, metric, "time", ("a", "b"), 100, 200, 1, tuple(rows))


def scores(pretrained: float, random: float, raw: float) -> dict[str, float]:
    return {"pretrained": pretrained, "random init": random, "raw pixels": raw}


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ((0.9, 0.6, 0.5), "yes"),
        ((0.7, 0.5, 0.9), "partly"),
        ((0.7, 0.5, 0.69), "partly"),  # above raw pixels, but not clearly
        ((0.6, 0.6, 0.3), "no"),
        ((0.3, 0.6, 0.6), "no"),
    ],
)
def test_verdict(values, answer):
    verdict = judge(made(scores(*values)))
    assert verdict.answer == answer and verdict.task == "motion"
    assert "random init" in verdict.text and "raw pixels" in verdict.text and "200 held-out" in verdict.text


def test_a_gain_is_clear_beyond_two_standard_errors_of_the_difference():
    # A 95 % interval of +-0.05 is a standard error of 0.0255; two of the difference are 0.0722.
    limit = 2 * 2**0.5 * SPREAD / 1.96
    assert judge(made(scores(0.5 + limit + 0.001, 0.5, 0.1))).answer == "yes"
    assert judge(made(scores(0.5 + limit - 0.001, 0.5, 0.1))).answer == "no"


def test_wide_intervals_make_the_same_gain_unclear():
    assert judge(made(scores(0.7, 0.6, 0.5), spread=0.01)).answer == "yes"
    assert judge(made(scores(0.7, 0.6, 0.5), spread=0.2)).answer == "no"


def test_one_video_shows_nothing():
    nan = float("nan")
    rows = [
        ProbeRow(name, "linear", None, ({"accuracy": Measure(value, nan, nan)},))
        for name, value in scores(1.0, 0.0, 0.0).items()
    ]
    found = ProbeTable("t", "classes", "accuracy", "time", ("a", "b"), 1, 1, 1, tuple(rows))
    assert judge(found).answer == "no"


def test_differences_are_in_points_with_chance_beside_them():
    text = judge(made(scores(0.861, 0.570, 0.9) | {"chance": 0.25})).text
    assert "86.1% accuracy" in text
    assert "29.1 points above random init (57.0%)" in text and "3.9 points below raw pixels (90.0%)" in text
    assert "chance is 25.0%" in text


def test_regression_speaks_in_plain_numbers():
    verdict = judge(made(scores(0.82, 0.4, -0.1), metric="R2"))
    assert verdict.answer == "yes"
    assert "0.820 R2" in verdict.text and "0.420 above random init (0.400)" in verdict.text
    assert "%" not in verdict.text and "points" not in verdict.text


def test_a_smaller_error_is_the_better_one():
    assert judge(made(scores(0.2, 0.8, 0.9), metric="MAE")).answer == "yes"
    assert judge(made(scores(0.8, 0.2, 0.2), metric="MAE")).answer == "no"


def test_several_seeds_are_judged_by_their_mean():
    def row(name: str, *values: float) -> ProbeRow:
        each = tuple({"accuracy": Measure(value, value - 0.01, value + 0.01)} for value in values)
        return ProbeRow(name, "linear", None, each)

    rows = (row("pretrained", 0.9, 0.5), row("random init", 0.7, 0.7))
    found = ProbeTable("t", "classes", "accuracy", "time", ("a", "b"), 9, 9, 2, rows)
    assert judge(found).answer == "no"  # the first seed alone would say yes


def test_uneven_classes_are_weighed_alike():
    even = made(scores(0.9, 0.6, 0.5) | {"majority class": 0.3, "chance": 0.25})
    assert measure_of(even) == "accuracy"
    uneven = made(scores(0.9, 0.6, 0.5) | {"majority class": 0.7, "chance": 0.25}, balanced=0.4)
    assert measure_of(uneven) == "balanced accuracy"
    assert "40.0% balanced accuracy" in judge(uneven).text
    assert measure_of(made({"pretrained": 0.5}, metric="R2")) == "R2"


def test_no_verdict_without_baselines():
    assert judge(made({"pretrained": 0.9})) is None
    assert judge(made({"random init": 0.9, "raw pixels": 0.9})) is None


def test_random_init_alone_is_enough_for_yes_or_no():
    assert judge(made({"pretrained": 0.9, "random init": 0.5})).answer == "yes"
    assert "raw pixels" not in judge(made({"pretrained": 0.9, "random init": 0.5})).text


def test_every_head_is_judged_by_its_own_rows():
    linear, near = made(scores(0.9, 0.4, 0.3)), made(scores(0.7, 0.8, 0.95))
    rows = (*linear.rows, *(replace(row, head="k-NN") for row in near.rows))
    found = verdicts(replace(linear, rows=rows))
    assert [(one.task, one.answer) for one in found] == [("motion, linear", "yes"), ("motion, k-NN", "no")]
