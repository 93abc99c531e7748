import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from jepa.probes.features import Features
from jepa.probes.table import probe_table
from jepa.programs.report import write_report


class Page(HTMLParser):
    """Collects tags, links to anything outside, text, and whether every tag is closed."""

    VOID = ("meta", "img", "br", "line", "rect", "circle", "polyline", "link")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.links, self.words, self.tags = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def features(signal: float, seed: int) -> Features:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (120,), generator=draw)
    values = signal * torch.nn.functional.one_hot(labels).float() + torch.randn(120, 3, generator=draw)
    return Features(values, labels, tuple(map(str, range(120))))


@pytest.fixture(scope="module")
def table():
    def rows(seed):
        return {
            "pretrained": {"mean": features(1, seed), "time": features(5, seed)},
            "random init": {"mean": features(1, seed), "time": features(1, seed)},
            "raw pixels": {"raw": features(0.5, seed)},
        }

    return probe_table("motion", rows(0), rows(1), pooling="time").named(["left", "right", "<up>"])


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


def report(path, **changes) -> str:
    parts = {
        "title": "demo",
        "config_yaml": "seed: 0\nname: <b>&\n",
        "metrics": METRICS,
        "summary": {"steps": 20, "train_s": 130.0, "device": "cpu", "probes": [1], "last": {"loss": 1}},
    } | changes
    return write_report(path, **parts).read_text(encoding="utf-8")


def test_loads_nothing_and_runs_nothing(tmp_path, table):
    picture = np.zeros((8, 8, 3), np.uint8)
    html = report(tmp_path, probe_tables=[table], contact_sheet=picture, feature_maps=picture)
    page = Page(html)
    assert not page.open, f"not closed: {page.open}"
    assert "script" not in page.tags and "link" not in page.tags
    assert len(page.links) == 2 and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", html)


def test_opens_with_the_verdict_and_shows_every_probe_row(tmp_path, table):
    text = Page(report(tmp_path, probe_tables=[table])).text
    assert text.index("Did it learn anything? yes motion : pre-training helped") < text.index("Linear probe")
    for row in table.rows:
        assert f"{row.name} {row.pooling + ' ' if row.pooling else ''}{100 * row.accuracy:.1f}%" in text
    counts = " ".join(str(n) for n in table.find("pretrained").confusion[0].tolist())
    assert f"left {counts}" in text


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
    (tmp_path / "bad_files.jsonl").write_text(
        json.dumps({"path": "a<script>.mp4", "reason": "empty & <i>"}) + "\n"
    )
    html = report(tmp_path, title="<u>run</u>", probe_tables=[table], notes=["<b>careful</b>"])
    page = Page(html)
    assert not {"script", "u", "i", "b"} & set(page.tags) - {"b"}
    for text in ("<u>run</u>", "<b>careful</b>", "a<script>.mp4", "empty & <i>", "name: <b>&", "<up>"):
        assert text in page.text


def test_facts_are_plain_and_readable(tmp_path):
    text = Page(report(tmp_path)).text
    assert "steps 20" in text and "train s 2m10s" in text and "device cpu" in text
    assert "probes" not in text.split("Training")[0].replace("list a task under probes", "")


def test_config_is_there_but_folded(tmp_path):
    html = report(tmp_path)
    assert "<details>" in html and "<details open" not in html
    assert "seed: 0" in html[html.index("<details>") :]


def test_pictures_are_embedded_and_written(tmp_path):
    wide = Image.new("RGB", (4000, 100), "red")
    html = report(tmp_path, contact_sheet=wide, feature_maps=np.zeros((8, 8, 3), np.uint8))
    assert html.count("data:image/png;base64,") == 2
    with Image.open(tmp_path / "plots" / "contact_sheet.png") as saved:
        assert saved.size == (1920, 48)
    assert (tmp_path / "plots" / "feature_maps.png").exists()


def test_a_run_that_went_wrong_still_has_a_report(tmp_path):
    broken = [{"step": 1, "loss": math.nan, "grad_norm": math.inf, "learning_rate": None}]
    assert "Configuration" in Page(report(tmp_path, metrics=broken)).text
    assert "Configuration" in Page(report(tmp_path, metrics=[])).text


def test_many_bad_files_are_counted_but_not_all_listed(tmp_path):
    lines = [json.dumps({"path": f"v{i}.mp4", "reason": "empty"}) for i in range(500)]
    (tmp_path / "bad_files.jsonl").write_text("\n".join(lines) + "\n")
    text = Page(report(tmp_path)).text
    assert "500 files skipped, the first 200 shown" in text
    assert "v199.mp4" in text and "v200.mp4" not in text
