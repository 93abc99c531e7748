import io
import json

import pytest
import torch
from rich.console import Console

from jepa.errors import DataError
from jepa.probes.features import Features
from jepa.probes.table import ProbeTable, probe_table
from jepa.probes.verdict import judge, measure_of


def features(
    signal: float, *, n: int = 200, seed: int = 0, classes: int = 4, uneven: bool = False
) -> Features:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=draw)
    if uneven:
        labels[torch.rand(n, generator=draw) < 0.7] = 0
    values = signal * torch.nn.functional.one_hot(labels, classes).float() + torch.randn(
        n, classes, generator=draw
    )
    return Features(values, labels, tuple(f"v{i // 2}" for i in range(n)))


def table(pretrained: float, random: float, raw: float, *, uneven: bool = False) -> ProbeTable:
    def rows(seed: int) -> dict[str, dict[str, Features]]:
        def one(signal: float) -> Features:
            return features(signal, seed=seed, uneven=uneven)

        return {
            "pretrained": {"mean": one(pretrained / 2), "time": one(pretrained)},
            "random init": {"mean": one(random / 2), "time": one(random)},
            "raw pixels": {"raw": one(raw)},
        }

    return probe_table("motion", rows(0), rows(1), pooling="time")


def test_headline_has_each_name_once_and_the_rest_is_recorded():
    found = table(6, 2, 1)
    assert [row.name for row in found.headline()] == [
        "pretrained",
        "random init",
        "raw pixels",
        "majority class",
        "chance",
    ]
    assert [row.pooling for row in found.headline()][:2] == ["time", "time"]
    assert [(row.name, row.pooling) for row in found.rows if row not in found.headline()] == [
        ("pretrained", "mean"),
        ("random init", "mean"),
    ]


def test_blind_rows_are_what_they_say():
    train = features(1, seed=0, uneven=True)
    test = features(1, seed=1, uneven=True)
    found = probe_table("t", {"pretrained": {"mean": train}}, {"pretrained": {"mean": test}}, pooling="mean")
    majority, chance = found.find("majority class"), found.find("chance")
    assert majority.accuracy == pytest.approx(float((test.labels == 0).float().mean()))
    assert majority.balanced_accuracy == pytest.approx(0.25)
    assert chance.accuracy == chance.balanced_accuracy == 0.25


def test_summary_holds_plain_json_and_every_row():
    found = table(6, 2, 1).named(["a", "b", "c", "d"])
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["classes"] == ["a", "b", "c", "d"]
    assert len(back["rows"]) == 7
    assert [row["headline"] for row in back["rows"]].count(True) == 5
    assert sum(map(sum, back["rows"][0]["confusion"])) == back["test_size"] == 200


def test_names_must_fit():
    with pytest.raises(ValueError, match="task motion has 4 classes, got 2 names"):
        table(1, 1, 1).named(["a", "b"])


def test_terminal_table_shows_every_number():
    console = Console(file=io.StringIO(), width=100)
    found = table(6, 2, 1)
    console.print(found.render())
    text = console.file.getvalue()
    for row in found.rows:
        assert row.name in text and f"{100 * row.accuracy:.1f}%" in text


def test_a_row_without_features_is_refused():
    with pytest.raises(ValueError, match="no features"):
        probe_table("t", {}, {}, pooling="mean")
    with pytest.raises(DataError, match="no label"):
        bad = features(1)
        bad.labels[0] = -1
        probe_table("t", {"a": {"mean": bad}}, {"a": {"mean": bad}}, pooling="mean")


@pytest.mark.parametrize(
    ("signals", "answer"), [((6, 2, 1), "yes"), ((4, 1, 9), "partly"), ((2, 2, 1), "no"), ((1, 4, 4), "no")]
)
def test_verdict(signals, answer):
    verdict = judge(table(*signals))
    assert verdict.answer == answer
    assert (
        "random init" in verdict.text
        and "raw pixels" in verdict.text
        and "200 held-out clips" in verdict.text
    )


def test_verdict_states_differences_in_points():
    found = table(6, 2, 1)
    gain = 100 * (found.find("pretrained").accuracy - found.find("random init").accuracy)
    assert f"{gain:.1f} points above random init" in judge(found).text


def test_verdict_weighs_classes_alike_where_they_are_uneven():
    assert measure_of(table(6, 2, 1)) == "accuracy"
    uneven = table(6, 2, 1, uneven=True)
    assert measure_of(uneven) == "balanced accuracy"
    assert f"{100 * uneven.find('pretrained').balanced_accuracy:.1f}% balanced accuracy" in judge(uneven).text


def test_no_verdict_without_baselines():
    one = {"pretrained": {"mean": features(1)}}
    assert judge(probe_table("t", one, one, pooling="mean")) is None
