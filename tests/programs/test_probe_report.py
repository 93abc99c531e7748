"""The page of a probe: what it shows, what it escapes, what it leaves out."""

import re
from pathlib import Path

import pytest
from sklearn.metrics import average_precision_score

from jepa.probes.table import shown_value
from jepa.programs.probe_report import ends, label_scores, write_probe_report
from jepa.runtime.run_dir import RunDir
from tests.programs.page import Page
from tests.programs.probed import Made, make

MLP = {
    "kind": "mlp",
    "hidden": 4,
    "epochs": 2,
    "learning_rates": [1e-2, 1e-3],
    "weight_decays": [0.01, 0.1],
    "batch_size": 60,
}
LINEAR = {"kind": "linear", "weight_decays": [0.01, 0.1, 1.0]}


def page_of(made: Made) -> Page:
    return Page(write_probe_report(RunDir(made.config.run_dir), *parts(made)).read_text(encoding="utf-8"))


def parts(made: Made):
    return made.config, made.probed, made.rows, made.sources


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[Made, Page]:
    heads = (LINEAR, MLP, {"kind": "knn", "k": 5})
    made = make(tmp_path_factory.mktemp("probe"), heads=heads, missing=(1, 4))
    return made, page_of(made)


def test_every_number_of_the_table_and_every_head_is_there(full):
    made, page = full
    table = made.probed.table
    page.assert_closed_in_itself()
    for row in table.rows:
        values = " ".join(shown_value(row, name, with_range=name == table.metric) for name in table.metrics)
        assert f"{' '.join(filter(None, (row.name, row.head, row.pooling)))} {values}" in page.text
    for head in ("linear", "MLP", "k-NN"):
        section = page.text.split(f"Head: {head}")[1]
        counts = table.find("pretrained", head).confusion.flatten().tolist()
        assert all(str(n) in section for n in counts)
    assert page.text.index("Did it learn anything? yes") < page.text.index("Head: linear")


def test_charts_and_pictures_are_in_the_page_and_in_files(full):
    made, page = full
    plots = {path.name for path in (Path(made.config.run_dir) / "plots").iterdir()}
    assert {
        "linear_validation_accuracy_by_weight_decay.svg",
        "mlp_validation_accuracy_by_learning_rate.svg",
        "mlp_loss_of_the_chosen_head.svg",
        "mlp_validation_accuracy_of_the_chosen_head.svg",
        "features__pretrained.svg",
        "features__random_init.svg",
    } <= plots
    titles = re.findall(r'aria-label="([^"]+)"', page.html)
    assert "Validation accuracy by learning rate" in titles and "Features: random init" in titles
    assert len(page.links) == sum(name.startswith("hardest") for name in plots)


def test_files_that_cannot_be_read_are_left_out_and_counted(tmp_path):
    made = make(tmp_path, missing=range(60))
    page = page_of(made)
    assert not page.links
    assert "12 of them are left out: the file cannot be read" in page.text
    none_missing = page_of(make(tmp_path / "whole"))
    assert len(none_missing.links) == 12 and "left out" not in none_missing.text


def test_what_a_user_wrote_is_escaped(tmp_path):
    hostile = ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a & b"]
    page = page_of(make(tmp_path / "<i>dir", names=hostile))
    assert not {"script", "i"} & set(page.tags)
    page.assert_closed_in_itself()
    assert all(name in page.text for name in hostile)


def test_numbers_are_shown_against_the_truth(tmp_path):
    made = make(tmp_path, "values", names=["steering", "speed"])
    page = page_of(made)
    titles = re.findall(r'aria-label="([^"]+)"', page.html)
    assert {"steering: predicted against true", "speed: predicted against true"} <= set(titles)
    assert "Confusion" not in page.text and "R2 on 60 held-out" in page.text
    scatter = page.html.split('aria-label="steering: predicted against true"')[1].split("</svg>")[0]
    assert scatter.count("<circle") == 60


def test_labels_have_average_precisions_and_the_page_counts_those_that_never_occur(tmp_path):
    names = [f"label {n}" for n in range(25)]
    made = make(tmp_path, "labels", names=names)
    trial = made.probed.trials["pretrained", "linear"][0]
    trial.truth[:, 7] = 0
    found = {name: (score, count) for name, score, count in label_scores(trial, names)}
    assert len(found) == 24 and "label 7" not in found
    for column, name in enumerate(names):
        if name in found:
            expected = average_precision_score(trial.truth[:, column], trial.scores[:, column])
            assert found[name][0] == pytest.approx(expected, rel=1e-6)
            assert found[name][1] == int(trial.truth[:, column].sum())
    page = page_of(made)
    assert "1 of 25 labels never occur" in page.text
    shown = ends(label_scores(trial, names), 10)
    assert len(shown) == 20
    assert all(f"{name} {100 * score:.1f} {count}" in page.text for name, score, count in shown)


def test_the_first_and_the_last_are_shown_once_each():
    assert ends(list(range(30)), 10) == [*range(10), *range(20, 30)]
    assert ends(list(range(12)), 10) == list(range(12))
    assert ends([], 10) == []


def test_without_baselines_it_says_that_it_cannot_say(tmp_path):
    made = make(tmp_path)
    alone = {"pretrained": made.rows["pretrained"]}
    kept = tuple(row for row in made.probed.table.rows if row.name in ("pretrained", "chance"))
    object.__setattr__(made.probed.table, "rows", kept)
    made.probed.trials.pop(("random init", "linear"))
    made.probed.trials.pop(("raw pixels", "linear"))
    page = Page(
        write_probe_report(
            RunDir(made.config.run_dir), made.config, made.probed, alone, made.sources
        ).read_text()
    )
    assert "this report cannot say" in page.text and "Features: random init" not in page.html


def test_features_on_disk_are_read_like_tensors(tmp_path):
    made = make(tmp_path, entries=30)
    for several in made.rows.values():
        for kinds in (several[0].test,):
            for kind, features in kinds.items():
                kinds[kind] = type(features)(features.values.numpy(), features.entries)
    assert "Features: pretrained" in page_of(made).html


def test_clips_of_one_entry_are_one_point(full):
    made, page = full
    assert len(made.rows["pretrained"][0].test["time"].entries) == 120
    cloud = page.html.split('aria-label="Features: pretrained"')[1].split("</svg>")[0]
    assert cloud.count("<circle") == 60 + 3  # and three in the legend
    assert "fitted on the 60 points shown" in page.text
