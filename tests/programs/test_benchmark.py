"""A benchmark runs as it is declared, and says early what it lacks."""

import json
from pathlib import Path

import pytest
from PIL import Image

from jepa.errors import ConfigError, DataError
from jepa.programs.benchmark import benchmark

DECLARED = """
title: Kinds
about: Which of four kinds.
source: made up
protocol: ours
data: kinds.csv and held/kinds.csv, made by hand.
needs: [kinds.csv, held/kinds.csv]
published:
  - {model: nobody, score: 25.0, source: "nowhere, table 1"}
probe:
  name: kinds
  train: {kind: csv, path: kinds.csv}
  test: {kind: csv, path: held/kinds.csv}
  clips: {workers: 0}
  metric: balanced accuracy
"""


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    (tmp_path / "kinds.yaml").write_text(DECLARED)
    return tmp_path / "kinds.yaml"


@pytest.fixture
def data(tmp_path: Path, videos: Path, held_out: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for path in videos.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "held").symlink_to(held_out)
    return folder


def test_it_runs_and_stands_beside_what_others_scored(declared, data, trained, tmp_path, capsys):
    features = f"features_dir={tmp_path / 'features'}"
    result = benchmark(
        str(declared), model=str(trained), data=data, run_dir=tmp_path / "run", overrides=[features]
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary == json.loads(json.dumps(result.summary))
    assert summary["benchmark"] == "kinds" and summary["published"][0]["score"] == 25
    assert summary["probes"][0]["metric"] == "balanced accuracy"
    shown = capsys.readouterr().err
    assert "nowhere, table 1" in shown and "held-out" in shown
    assert (tmp_path / "run" / "report.html").is_file() and list((tmp_path / "features").iterdir())


def test_overrides_change_the_declaration_or_the_machine(declared, data, trained, tmp_path):
    changes = [f"features_dir={tmp_path / 'features'}", "probe.seeds=[0,1]", "threads=1", "device=cpu"]
    result = benchmark(
        str(declared), model=str(trained), data=data, run_dir=tmp_path / "run", overrides=changes
    )
    assert result.summary["seeds"] == [0, 1]
    with pytest.raises(ConfigError, match=r"probe.sedes: unknown key"):
        benchmark(str(declared), model=str(trained), data=data, overrides=["probe.sedes=[0]"])


def test_missing_data_is_named_before_the_model_is_looked_at(declared, data, tmp_path):
    with pytest.raises(ConfigError, match="--data is missing: Kinds needs a folder .* made by hand"):
        benchmark(str(declared), model="no such run")
    (data / "held").unlink()
    with pytest.raises(DataError, match=r"Kinds: .*held/kinds.csv is not there. kinds.csv and held"):
        benchmark(str(declared), model="no such run", data=data)


def test_an_unknown_benchmark_names_the_known_ones(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(ConfigError, match=r"did you mean evals/ssv2.yaml"):
        benchmark("ssv22", model="x")


def test_surprise_is_measured_and_reported(trained, tmp_path):
    (tmp_path / "physics.yaml").write_text(
        "{title: T, about: A, source: S, protocol: P, data: none, generated: true, surprise: {path: p, pairs: 2}}"
    )
    settings = {"data": tmp_path / "data", "run_dir": tmp_path / "run"}
    (tmp_path / "data").mkdir()
    result = benchmark(str(tmp_path / "physics.yaml"), model=str(trained), **settings)
    assert 0 <= result.summary["results"]["relative accuracy, trained"]["value"] <= 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<svg" in page and "vanish" in page
    with pytest.raises(DataError, match="holds another set"):
        benchmark(
            str(tmp_path / "physics.yaml"), model=str(trained), overrides=["surprise.seed=5"], **settings
        )


def test_dense_features_are_measured_and_reported(trained, tmp_path):
    videos = "{kind: synthetic, path: %s, videos: 64, frames: 8, size_px: 32, seed: %d}"
    (tmp_path / "dense.yaml").write_text(
        "{title: T, about: A, source: S, protocol: P, data: none, generated: true, "
        f"dense: {{train: {videos % ('a', 0)}, test: {videos % ('b', 1)}}}}}"
    )
    (tmp_path / "data").mkdir()
    result = benchmark(
        str(tmp_path / "dense.yaml"), model=str(trained), data=tmp_path / "data", run_dir=tmp_path / "run"
    )
    assert 0 <= result.summary["results"]["token mIoU, pretrained"]["value"] <= 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "tracking J" in page and "data:image/gif;base64," in page
    with Image.open(tmp_path / "run" / "plots" / "feature-maps.gif") as maps:
        assert maps.n_frames == 8
