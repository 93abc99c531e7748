import io
import json
import statistics

import pytest
import torch
from rich.console import Console

from jepa.probes.metrics import Measure
from jepa.probes.table import ProbeRow, ProbeTable, shown_choice, shown_value
from jepa.probes.trial import Trial

NAN = float("nan")


def measures(value: float, spread: float = 0.05, balanced: float | None = None) -> dict[str, Measure]:
    other = value if balanced is None else balanced
    return {
        "accuracy": Measure(value, value - spread, value + spread),
        "balanced accuracy": Measure(other, other - spread, other + spread),
    }


def row(name: str, *values: float, head: str = "linear", pooling: str | None = "time", **more) -> ProbeRow:
    chosen = tuple({"weight decay": 0.1 * (n + 1)} for n in range(len(values))) if head else ()
    return ProbeRow(name, head, pooling, tuple(measures(value, **more) for value in values), chosen)


def table(*rows: ProbeRow, **changes) -> ProbeTable:
    parts = {
        "task": "motion",
        "kind": "classes",
        "metric": "accuracy",
        "pooling": "time",
        "classes": ("left", "right", "up", "down"),
        "train_size": 1200,
        "test_size": 200,
        "seeds": len(rows[0].measures),
        "rows": rows,
    }
    return ProbeTable(**(parts | changes))


@pytest.fixture
def full() -> ProbeTable:
    return table(
        row("pretrained", 0.8),
        row("random init", 0.6),
        row("raw pixels", 0.5, pooling=None),
        row("pretrained", 0.9, head="attentive", pooling=None),
        row("chance", 0.25, head="", pooling=None, spread=0),
        row("pretrained", 0.7, pooling="mean"),
        row("random init", 0.55, pooling="mean"),
    )


def test_the_headline_is_the_tasks_pooling_and_what_has_none(full):
    found = [(one.name, one.head, one.pooling) for one in full.headline()]
    assert len(found) == 5 and ("pretrained", "linear", "mean") not in found
    assert full.heads == ("linear", "attentive")


def test_rows_are_found_by_name_and_head(full):
    assert full.find("pretrained").mean("accuracy") == 0.8  # of the first head, not of the other pooling
    assert full.find("pretrained", "attentive").mean("accuracy") == 0.9
    assert full.find("chance").mean("accuracy") == full.find("chance", "attentive").mean("accuracy") == 0.25
    assert full.find("nobody") is None


def test_several_seeds_give_mean_and_sample_deviation():
    values = (0.71, 0.78, 0.745)
    one = row("pretrained", *values)
    assert one.mean("accuracy") == pytest.approx(statistics.fmean(values))
    assert one.deviation("accuracy") == pytest.approx(statistics.stdev(values))
    assert shown_value(one, "accuracy") == "74.5 ± 3.5"
    assert row("pretrained", 0.7).deviation("accuracy") is None


def test_one_seed_shows_its_interval_where_there_is_one():
    assert shown_value(row("a", 0.745, spread=0.044), "accuracy") == "74.5 [70.1, 78.9]"
    assert shown_value(row("a", 0.745), "accuracy", with_range=False) == "74.5"
    assert shown_value(row("chance", 0.25, spread=0), "accuracy") == "25.0"
    lone = ProbeRow("a", "linear", "time", ({"accuracy": Measure(0.5, NAN, NAN)},))
    assert shown_value(lone, "accuracy") == "50.0"  # one video says nothing about others
    assert (
        shown_value(row("majority class", 0.25, 0.25), "accuracy") == "25.0"
    )  # nothing varies with the seed


def test_numbers_that_are_no_shares_are_not_percent():
    one = ProbeRow(
        "a", "linear", "time", ({"R2": Measure(-0.1234, -0.2, 0.1), "MAE": Measure(12.5, 11, 13)},)
    )
    assert shown_value(one, "R2") == "-0.123 [-0.200, 0.100]"
    assert shown_value(one, "MAE", with_range=False) == "12.500"


def test_the_choice_of_all_seeds_is_shown_once_each():
    assert shown_choice(row("a", 0.5, 0.5, 0.5)) == "weight decay 0.1/0.2/0.3"
    same = ProbeRow(
        "a", "mlp", None, (measures(0.5),) * 2, ({"learning rate": 1e-3, "weight decay": 0.1},) * 2
    )
    assert shown_choice(same) == "learning rate 0.001, weight decay 0.1"
    assert shown_choice(row("chance", 0.25, head="")) == ""


def test_another_measure_can_lead(full):
    assert full.metrics == ("accuracy", "balanced accuracy")
    other = full.led_by("balanced accuracy")
    assert other.metrics == ("balanced accuracy", "accuracy") and other.rows == full.rows


def test_a_row_is_made_of_trials_and_keeps_the_first_confusion():
    def trial(value: float, decay: float) -> Trial:
        place = torch.zeros(1)
        counts = torch.full((2, 2), round(10 * value))
        return Trial(measures(value), {"weight decay": decay}, (), (0, 1), place, place, place, counts)

    one = ProbeRow.of("pretrained", "linear", "time", [trial(0.5, 1.0), trial(0.7, 3.0)])
    assert one.mean("accuracy") == pytest.approx(0.6)
    assert [chosen["weight decay"] for chosen in one.chosen] == [1.0, 3.0]
    assert one.confusion.tolist() == [[5, 5], [5, 5]]
    assert one.interval("accuracy") == pytest.approx((0.45, 0.55))


def test_summary_holds_plain_json_and_every_row(full):
    back = json.loads(json.dumps(full.to_dict(), allow_nan=False))
    assert back["classes"] == ["left", "right", "up", "down"]
    assert [one["headline"] for one in back["rows"]] == [True] * 5 + [False] * 2
    first = back["rows"][0]
    assert first["accuracy"] == 0.8 and first["balanced_accuracy"] == 0.8
    assert first["measures"]["accuracy"] == [{"value": 0.8, "low": 0.75, "high": pytest.approx(0.85)}]
    assert first["chosen"] == [{"weight decay": 0.1}]


def test_what_is_not_defined_is_null_in_json():
    lone = ProbeRow("a", "linear", "time", ({"R2": Measure(NAN, NAN, NAN), "MAE": Measure(1.0, NAN, NAN)},))
    found = table(lone, kind="values", metric="R2").to_dict()["rows"][0]
    json.dumps(found, allow_nan=False)
    assert found["R2"] is None and found["MAE"] == 1.0
    assert found["measures"]["MAE"] == [{"value": 1.0, "low": None, "high": None}]


def test_terminal_table_shows_every_number(full):
    console = Console(file=io.StringIO(), width=140)
    console.print(full.render())
    text = console.file.getvalue()
    for one in full.rows:
        assert one.name in text
        assert all(shown_value(one, name, with_range=name == "accuracy") in text for name in full.metrics)
    assert "1,200 to fit, 200 held out, 4 classes" in text and "95 % intervals over videos" in text
    console.print(table(row("a", 0.1, 0.2)).render())
    assert "2 seeds: mean ± sd" in console.file.getvalue()
