"""The charts of a probe show what was tried and how the chosen head learned."""

import re

import torch

from jepa.probes.trial import Trial
from jepa.programs.probe_charts import choice_chart, head_charts, learning_charts, value_charts

GRID = tuple(
    {"learning rate": rate, "weight decay": decay, "score": rate + decay, "loss": 1.0}
    for rate in (1e-3, 1e-4)
    for decay in (0.01, 0.4)
)


def trial(trials=(), chosen=None, history=(), scores=None, truth=None) -> Trial:
    empty = torch.zeros(2, 2)
    return Trial(
        {},
        dict(chosen or {}),
        tuple(trials),
        (0, 1),
        empty if scores is None else scores,
        empty if truth is None else truth,
        torch.arange(2),
        None,
        tuple(history),
    )


def lines(svg: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]+)"', svg)
    return [[tuple(map(float, pair.split(","))) for pair in text.split()] for text in found]


def test_a_grid_is_drawn_against_the_learning_rate_with_a_line_per_weight_decay():
    (title,) = found = choice_chart("classes", {"pretrained": trial(GRID), "raw pixels": trial()})
    assert title == "Validation accuracy by learning rate"
    assert "weight decay 0.01" in found[title] and "weight decay 0.4" in found[title]
    drawn = lines(found[title])
    assert [len(line) for line in drawn] == [2, 2]
    assert all(line[0][0] < line[1][0] for line in drawn)  # ascending, though the grid descends
    assert drawn[1][0][1] < drawn[0][0][1]  # a higher score is drawn higher


def test_a_single_setting_compares_the_rows():
    tried = [{"weight decay": 10.0**n, "score": 0.5 + n / 10, "loss": 1.0} for n in range(-3, 1)]
    found = choice_chart("values", {"pretrained": trial(tried), "random init": trial(tried[:2])})
    (svg,) = found.values()
    assert list(found) == ["Validation R2 by weight decay"]
    assert [len(line) for line in lines(svg)] == [4, 2]
    assert "pretrained" in svg and "random init" in svg
    gaps = [b[0] - a[0] for a, b in zip(lines(svg)[0][:-1], lines(svg)[0][1:], strict=True)]
    assert max(gaps) - min(gaps) < 0.3  # powers of ten are equally far apart


def test_a_weight_decay_of_zero_is_drawn_on_a_linear_axis():
    tried = [
        {"learning rate": 0.1, "weight decay": decay, "score": 0.5, "loss": 1.0} for decay in (0.0, 0.1, 0.2)
    ]
    (svg,) = choice_chart("classes", {"pretrained": trial(tried)}).values()
    assert len(lines(svg)[0]) == 3


def test_where_nothing_was_chosen_nothing_is_drawn():
    assert choice_chart("classes", {"pretrained": trial()}) == {}
    assert choice_chart("classes", {"pretrained": trial([{"learning rate": 0.1}])}) == {}
    assert choice_chart("classes", {"pretrained": trial(GRID[:1])}) == {}


def test_the_curves_are_those_of_the_chosen_head():
    history = [
        {
            "training loss": [9, 8, 7.0 - epoch, 6],
            "score": [0, 0, 0.1 * epoch, 0],
            "loss": [5, 5, 5.0 - epoch, 5],
        }
        for epoch in range(3)
    ]
    own = trial(GRID, {"learning rate": 1e-4, "weight decay": 0.01}, history)
    found = learning_charts("classes", {"pretrained": own, "raw pixels": own})
    assert list(found) == ["Loss of the chosen head", "Validation accuracy of the chosen head"]
    training, validation = lines(found["Loss of the chosen head"])
    assert len(training) == len(validation) == 3
    assert training[0][1] < training[1][1] < training[2][1]  # falls, so its pixels grow
    assert len(lines(found["Validation accuracy of the chosen head"])) == 2
    own = trial(
        [{"learning rate": 0.1}], {"learning rate": 0.1}, [{"training loss": [1.0]}, {"training loss": [0.5]}]
    )
    assert list(learning_charts("classes", {"pretrained": own})) == ["Loss of the chosen head"]


def test_predictions_lie_above_the_diagonal_where_they_are_too_large():
    truth = torch.tensor([[0.0, 7.0], [1.0, 5.0], [2.0, 6.0]])
    found = value_charts(trial(scores=truth + 1, truth=truth), ["angle", "speed"])
    assert list(found) == ["angle: predicted against true", "speed: predicted against true"]
    for column, svg in enumerate(found.values()):
        across = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
        assert sorted(range(3), key=across.__getitem__) == truth[:, column].argsort().tolist()
    assert set(
        head_charts("values", {"pretrained": trial(scores=truth, truth=truth)}, ["angle", "speed"])
    ) == set(found)
    assert head_charts("classes", {"pretrained": trial()}, []) == {}
