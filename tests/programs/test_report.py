import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepa.probes.table import shown_value
from jepa.programs.probe_tables import confused_pairs
from jepa.programs.report import write_report
from jepa.runtime.metrics import MetricsLog
from jepa.runtime.run_dir import RunDir
from tests.programs.page import Page
from tests.programs.probed import make

METRICS = [
    {
        "step": s,
        "loss": 1 / (s + 1),
        "learning_rate": 1e-3,
        "grad_norm": 2.0,
        "target_std": 0.5,
        "clips_per_s": 300.0,
    }
    | ({"effective_rank": 20.0} if s % 4 == 0 else {})
    | {"a_new_signal": float(s), "bad_files": 0}
    for s in range(0, 20, 2)
]


SUMMARY = {"steps": 20, "train_s": 130.0, "device": "cpu", "probes": [1], "last": {"loss": 1}}


def report(path: Path, *, metrics: list = METRICS, tables: tuple = (), **parts) -> str:
    run = RunDir(path)
    run.create()
    run.write_config("seed: 0\nname: <b>&\n")
    with MetricsLog(path) as log:
        for line in metrics:
            log.write(line["step"], {name: value for name, value in line.items() if name != "step"})
    return write_report(run, SUMMARY, tables, **parts).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    names = ["left", "right", "<up>"]
    return make(
        tmp_path_factory.mktemp("probe"), names=names, entries=90, poolings=("mean", "time")
    ).probed.table


def test_loads_nothing_and_runs_nothing(tmp_path, table):
    picture = np.zeros((8, 8, 3), np.uint8)
    page = Page(
        report(tmp_path, tables=(table,), pictures={"contact_sheet": picture, "feature_maps": picture})
    )
    page.assert_closed_in_itself()
    assert len(page.links) == 2


def test_opens_with_the_verdict_and_shows_every_number_of_every_row(tmp_path, table):
    text = Page(report(tmp_path, tables=(table,))).text
    assert text.index("Did it learn anything? yes motion : pre-training helped") < text.index("Probe: motion")
    assert {row.pooling for row in table.rows} == {"time", "mean", None}
    for row in table.rows:
        start = " ".join(filter(None, (row.name, row.head, row.pooling)))
        values = " ".join(shown_value(row, name, with_range=name == table.metric) for name in table.metrics)
        assert f"{start} {values}" in text
    counts = " ".join(str(n) for n in table.find("pretrained").confusion[0].tolist())
    assert f"left {counts}" in text


def test_bars_are_as_long_as_the_measure(tmp_path, table):
    html = report(tmp_path, tables=(table,))
    drawn = [float(width) for width in re.findall(r'class="bar"><span style="width: ([\d.]+)%', html)]
    assert drawn == pytest.approx([100 * row.mean("accuracy") for row in table.rows], abs=0.06)


def test_of_many_classes_the_most_confused_pairs_are_listed(tmp_path):
    counts = [[5, 2, 0], [0, 4, 3], [1, 0, 6]]
    assert confused_pairs(counts, ["a", "b", "c"]) == [
        {"true": "b", "answer": "c", "count": 3, "total": 7},
        {"true": "a", "answer": "b", "count": 2, "total": 7},
        {"true": "c", "answer": "a", "count": 1, "total": 7},
    ]
    names = [f"class {n}" for n in range(21)]
    table = make(tmp_path / "probe", names=names, entries=84).probed.table
    page = Page(report(tmp_path / "run", tables=(table,)))
    assert "The most frequent errors among 21 classes" in page.text and 'class="confusion"' not in page.html


def test_says_that_it_cannot_say_without_a_probe(tmp_path):
    assert "this report cannot say" in Page(report(tmp_path)).text


def test_every_metric_is_drawn_also_one_it_never_heard_of(tmp_path):
    html = report(tmp_path)
    titles = re.findall(r'aria-label="([^"]+)"', html)
    assert {
        "Loss",
        "Learning rate",
        "Gradient norm",
        "Effective rank",
        "Clips per second",
        "a new signal",
    } <= set(titles)
    assert "k-NN accuracy" not in titles  # not measured in this run
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"loss.svg", "effective_rank.svg", "a_new_signal.svg"} <= plots


def test_what_a_user_wrote_is_escaped(tmp_path, table):
    (tmp_path / "<u>run").mkdir()
    (tmp_path / "<u>run" / "bad_files.jsonl").write_text(
        json.dumps({"path": "a<script>.mp4", "reason": "empty & <i>"}) + "\n"
    )
    html = report(tmp_path / "<u>run", tables=(table,), notes=["<b>careful</b>"])
    page = Page(html)
    assert not {"script", "u", "i", "b"} & set(page.tags) - {"b"}
    for text in ("<u>run", "<b>careful</b>", "a<script>.mp4", "empty & <i>", "name: <b>&", "<up>"):
        assert text in page.text


def test_facts_are_plain_and_readable(tmp_path):
    text = Page(report(tmp_path)).text
    assert "steps 20" in text and "train s 2m10s" in text and "device cpu" in text
    assert "probes" not in text.split("Training")[0].replace("list a task under probes", "")


def test_config_is_there_but_folded(tmp_path):
    html = report(tmp_path)
    assert "<details" in html and not re.search(r"<details[^>]*open", html)
    assert "seed: 0" in html[html.index("<details") :]


def test_pictures_are_embedded_and_written(tmp_path):
    wide = Image.new("RGB", (4000, 100), "red")
    html = report(tmp_path, pictures={"contact_sheet": wide, "feature_maps": np.zeros((8, 8, 3), np.uint8)})
    assert html.count("data:image/png;base64,") == 2
    with Image.open(tmp_path / "plots" / "contact_sheet.png") as saved:
        assert saved.size == (1920, 48)
    assert (tmp_path / "plots" / "feature_maps.png").exists()


def test_a_run_that_went_wrong_still_has_a_report(tmp_path):
    broken = [{"step": 1, "loss": math.nan, "grad_norm": math.inf, "learning_rate": None}]
    assert "Configuration" in Page(report(tmp_path / "a", metrics=broken)).text
    assert "Configuration" in Page(report(tmp_path / "b", metrics=[])).text


def test_many_bad_files_are_counted_but_not_all_listed(tmp_path):
    lines = [json.dumps({"path": f"v{i}.mp4", "reason": "empty"}) for i in range(500)]
    (tmp_path / "bad_files.jsonl").write_text("\n".join(lines) + "\n")
    text = Page(report(tmp_path)).text
    assert "500 files skipped, the first 200 shown" in text
    assert "v199.mp4" in text and "v200.mp4" not in text
