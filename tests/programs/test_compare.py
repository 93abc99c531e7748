"""Runs side by side, against numbers worked out by hand."""

import io
import json
import statistics
from pathlib import Path

import pytest
from rich.console import Console

from jepa.config import yaml_text
from jepa.errors import ConfigError, RunError
from jepa.programs.compare import compare
from jepa.programs.comparison import written
from jepa.programs.run_results import Score, What
from tests.programs.page import Page

LINEAR = What("motion", "linear", "pretrained", "accuracy")


def row(
    name: str, *values: float, head: str = "linear", metric: str = "accuracy", headline: bool = True
) -> dict:
    each = [{"value": value, "low": value - 0.05, "high": value + 0.05} for value in values]
    return {"name": name, "head": head, "headline": headline, "measures": {metric: each, "other": each}}


def table(*rows: dict, task: str = "motion", metric: str = "accuracy") -> dict:
    return {"task": task, "metric": metric, "rows": list(rows)}


def run(path: Path, *tables: dict, config: dict | None = None, **summary: object) -> Path:
    path.mkdir(parents=True)
    settings = {"run_dir": str(path), "objective": {"kind": "vjepa"}, "seed": 0} if config is None else config
    (path / "config.yaml").write_text("# jepa 0.1.0\n" + yaml_text.write(settings))
    facts = {"steps": 100, "train_s": 130.0, "device": "cpu", "version": "0.1.0"}
    (path / "summary.json").write_text(json.dumps(facts | {"probes": list(tables)} | summary))
    return path


def scores(found) -> dict[What, list[float | None]]:
    return {line.what: [score and score.value for score in line.scores] for line in found.scores}


def text_of(found, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(found.render())
    return console.file.getvalue()


def test_two_runs_side_by_side(tmp_path):
    chance = row("chance", 0.25, head="")
    aside = row("pretrained", 0.1, headline=False)
    one = run(tmp_path / "one", table(row("a baseline", 0.3), row("pretrained", 0.8), chance, aside))
    two = run(
        tmp_path / "two",
        table(row("pretrained", 0.7, 0.9), row("pretrained", 0.95, head="attentive"), chance),
        table(row("pretrained", 0.4, metric="R2"), task="angle", metric="R2"),
    )
    found = compare([one, str(two)])
    assert found.runs == found.columns == ("one", "two")
    assert list(scores(found).items()) == [
        (LINEAR, [0.8, pytest.approx(0.8)]),
        (What("motion", "linear", "a baseline", "accuracy"), [0.3, None]),
        (What("motion", "attentive", "pretrained", "accuracy"), [None, 0.95]),
        (What("motion", "", "chance", "accuracy"), [0.25, 0.25]),
        (What("angle", "linear", "pretrained", "R2"), [None, 0.4]),
    ]
    text = text_of(found)
    assert "80.0 [75.0, 85.0]" in text  # one seed: its interval
    assert f"80.0 ± {100 * statistics.stdev([0.7, 0.9]):.1f}" in text  # two seeds: their deviation
    assert "0.400 [0.350, 0.450]" in text  # R2 is no share
    assert "–" in text and "2m10s" in text and "cpu" in text


def test_runs_as_seeds_give_mean_and_deviation(tmp_path):
    values = (0.71, 0.78, 0.745)
    runs = [
        run(tmp_path / f"seed{n}", table(row("pretrained", value), *([row("raw pixels", 0.3)] if n else [])))
        for n, value in enumerate(values)
    ]
    found = compare(runs, mean=True)
    assert found.columns == ("mean of 3 runs",) and len(found.runs) == 3
    (score,) = found.scores[0].scores
    assert score.value == pytest.approx(statistics.fmean(values))
    assert score.deviation == pytest.approx(statistics.stdev(values)) and score.low is None
    text = text_of(found)
    assert "74.5 ± 3.5" in text
    assert "30.0 ± 0.0 (2 of 3)" in text  # the first run has no such row


def test_settings_that_differ_are_found_by_path(tmp_path):
    base = {"objective": {"kind": "vjepa", "momentum": 0.99}, "optim": {"steps": 10}, "list": [1, 2]}
    sources = {"data": {"sources": [{"kind": "csv", "path": "a.csv"}, {"kind": "csv", "path": "b.csv"}]}}
    other = {"data": {"sources": [{"kind": "csv", "path": "a.csv"}, {"kind": "csv", "path": "c.csv"}]}}
    one = run(tmp_path / "one", config={"run_dir": "x", "seed": 0, **base, **sources})
    two = run(tmp_path / "two", config={"run_dir": "y", "seed": 1, **base, **other, "list": [1, 3], "new": 5})
    found = {line.name: line.values for line in compare([one, two]).differences}
    assert found == {
        "seed": (0, 1),
        "list": ([1, 2], [1, 3]),
        "data.sources.1.path": ("b.csv", "c.csv"),
        "new": (None, 5),
    }
    assert compare([one, one]).differences == ()


def test_a_probe_is_not_told_that_it_lacks_the_settings_of_training(tmp_path):
    training = {
        "run_dir": "x",
        "objective": {"kind": "vjepa"},
        "optim": {"steps": 10},
        "seed": 0,
        "threads": 1,
    }
    one = run(tmp_path / "one", config=training)
    two = run(tmp_path / "two", config={"run_dir": "y", "model": "runs/one", "threads": 2, "seeds": [0]})
    found = {line.name: line.values for line in compare([one, two]).differences}
    assert found == {"threads": (1, 2)}


def test_results_of_a_benchmark_and_unknown_keys(tmp_path):
    results = {
        "all": {"relative": {"value": 0.9, "low": 0.8, "high": 1.0}, "auroc": 0.75},
        "note": "text",
        "ok": True,
    }
    one = run(tmp_path / "one", benchmark="surprise", results=results, whatever={"a": [1]})
    two = run(tmp_path / "two", results={"all": {"auroc": 0.5}})
    found = compare([one, two])
    assert scores(found) == {
        What("surprise", "", "", "all, relative"): [0.9, None],
        What("surprise", "", "", "all, auroc"): [0.75, None],
        What("benchmark", "", "", "all, auroc"): [None, 0.5],
    }
    assert "0.900 [0.800, 1.000]" in text_of(found)


def test_summaries_of_the_first_version_are_read(tmp_path):
    rows = [
        {
            "name": "pretrained",
            "pooling": "time",
            "headline": True,
            "accuracy": 0.8,
            "balanced_accuracy": 0.7,
        },
        {
            "name": "pretrained",
            "pooling": "mean",
            "headline": False,
            "accuracy": 0.1,
            "balanced_accuracy": 0.1,
        },
        {"name": "chance", "pooling": None, "headline": True, "accuracy": 0.25, "balanced_accuracy": 0.25},
    ]
    old = run(tmp_path / "old", {"task": "motion", "pooling": "time", "rows": rows})
    new = run(tmp_path / "new", table(row("pretrained", 0.9)))
    found = scores(compare([old, new]))
    assert found[LINEAR] == [0.8, 0.9]
    assert found[What("motion", "", "chance", "accuracy")] == [0.25, None]


def test_plain_values_for_json_also_where_nothing_is_defined(tmp_path):
    undefined = row("pretrained", 0.5)
    undefined["measures"]["accuracy"] = [{"value": None, "low": None, "high": None}]
    found = compare([run(tmp_path / "one", table(undefined)), run(tmp_path / "two", table())])
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["runs"] == ["one", "two"]
    assert back["scores"][0]["task"] == "motion" and back["scores"][0]["scores"][1] is None
    assert back["scores"][0]["scores"][0]["value"] is None
    assert back["facts"]["steps"] == [100, 100] and back["differences"] == {}
    assert written(Score(float("nan")), "accuracy") == "–"


def test_runs_of_one_name_are_told_apart(tmp_path):
    found = compare([run(tmp_path / "a" / "run", table()), run(tmp_path / "b" / "run", table())])
    assert found.runs == ("a/run", "b/run")


def test_the_page_has_the_tables_and_the_curves(tmp_path):
    one = run(tmp_path / "one", table(row("pretrained", 0.8)))
    two = run(tmp_path / "<b>two", table(row("pretrained", 0.7)), config={"objective": {"kind": "<i>x"}})
    lines = [{"step": n, "loss": 1 / n, "effective_rank": n} for n in (1, 2, 3)]
    (one / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (two / "metrics.jsonl").write_text(json.dumps({"step": 2, "loss": "nan", "note": "text"}) + "\n")
    found = compare([one, two], html=tmp_path / "new" / "compare.html")
    page = Page((tmp_path / "new" / "compare.html").read_text())
    page.assert_closed_in_itself()
    for part in found.tables():
        assert part["title"] in page.text
        assert all(" ".join(" ".join(line["values"]).split()) in page.text for line in part["rows"])
    assert "<i>x" in page.text and not {"b", "i"} & set(page.tags)
    assert 'aria-label="Loss"' in page.html and 'aria-label="Effective rank"' in page.html
    assert 'aria-label="k-NN accuracy"' not in page.html


def test_what_is_no_run_is_refused(tmp_path):
    whole = run(tmp_path / "whole", table())
    with pytest.raises(RunError, match=r"nowhere is no run directory .* give the run_dir of `jepa pretrain`"):
        compare([whole, tmp_path / "nowhere"])
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(RunError, match=r"begun is not finished: there is no summary.json; run the command"):
        compare([whole, tmp_path / "begun"])
    with pytest.raises(RunError, match="a comparison needs a run, got 0"):
        compare([])
    with pytest.raises(RunError, match="a mean needs two runs or more, got 1"):
        compare([whole], mean=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"probes": [', r"summary.json is damaged \(.*remove it and run the command that wrote it again"),
        ("[1]", "holds a list, not an object"),
        ('{"probes": ["motion"]}', "'motion' is no probe table"),
        ('{"probes": [{"task": "t", "rows": ["x"]}]}', "'x' is no row of a probe table"),
        (
            '{"probes": [{"task": "t", "metric": "mAP", "rows": [{"name": "pretrained", "measures": {}}]}]}',
            "the row 'pretrained' of 't' has no mAP; run the command that wrote it again",
        ),
    ],
)
def test_a_damaged_summary_is_refused(tmp_path, text, said):
    path = run(tmp_path / "one", table())
    (path / "summary.json").write_text(text)
    with pytest.raises(RunError, match=said):
        compare([path])


def test_a_damaged_config_is_refused(tmp_path):
    path = run(tmp_path / "one", table())
    (path / "config.yaml").write_text("a: [1,\n")
    with pytest.raises(ConfigError, match=r"config.yaml, line 2.* cannot be read as YAML"):
        compare([path])


def test_brackets_are_no_markup_on_a_terminal(tmp_path):
    one = run(tmp_path / "[red]one", config={"objective": {"kind": "[/red]"}})
    text = text_of(compare([one, run(tmp_path / "two")]))
    assert "[red]one" in text and "[/red]" in text


def test_runs_without_any_score_still_show_their_settings(tmp_path):
    one, two = run(tmp_path / "one"), run(tmp_path / "two", config={"objective": {"kind": "lejepa"}})
    text = text_of(compare([one, two]))
    assert "Scores" not in text and "objective.kind" in text and "lejepa" in text
