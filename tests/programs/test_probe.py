"""A probe of a frozen encoder: one table, one test score per head, features computed once."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from jepa.config.load import assemble
from jepa.config.probe import ProbeConfig
from jepa.data.feature_store import FeatureStore
from jepa.errors import ConfigError, DataError
from jepa.programs import extraction
from jepa.programs import probe as program
from jepa.programs.embed import embed
from jepa.programs.probe import probe
from jepa.runtime.checkpoint import find_checkpoint


@pytest.fixture
def settings(trained, videos, held_out, tmp_path):
    """Build a config of seconds."""

    def build(*changes: str, **values) -> ProbeConfig:
        tree = {
            "name": "kinds",
            "model": str(trained),
            "run_dir": str(tmp_path / "probe"),
            "features_dir": str(tmp_path / "features"),
            "train": {"kind": "csv", "path": str(videos / "kinds.csv")},
            "test": {"kind": "csv", "path": str(held_out / "kinds.csv")},
            "clips": {"workers": 0},
        }
        return assemble(tree | values, changes, ProbeConfig)

    return build


def small_heads() -> list[dict]:
    grid = {"learning_rates": [1e-2, 1e-3], "weight_decays": [0.01], "epochs": 2, "batch_size": 8}
    return [
        {"kind": "linear", "weight_decays": [0.1, 1.0]},
        {"kind": "mlp", "hidden": 8, **grid},
        {"kind": "attentive", "blocks": 0, "heads": 4, **grid},
        {"kind": "knn", "k": 3},
    ]


def test_every_head_beside_every_baseline(settings, tmp_path, capsys):
    result = probe(settings(heads=small_heads(), seeds=[0, 1]))
    table = result.table
    assert table.heads == ("linear", "MLP", "attentive", "k-NN")
    names = {(row.name, row.head) for row in table.rows}
    rows = ("pretrained", "random init", "raw pixels")
    assert names == {(row, head) for row in rows for head in table.heads} | {
        ("majority class", ""),
        ("chance", ""),
    }
    assert (table.train_size, table.test_size, table.seeds) == (24, 16, 2)
    assert table.find("chance").mean("accuracy") == pytest.approx(1 / 4)
    summary = json.loads((result.run_dir / "summary.json").read_text())
    assert summary["probes"][0]["rows"][0]["measures"]["accuracy"][0]["value"] <= 1
    page = (result.run_dir / "report.html").read_text()
    assert "kinds" in page and (result.run_dir / "config.yaml").is_file()
    assert "report:" in capsys.readouterr().err


def test_features_are_computed_once_for_all_heads_and_runs(settings, monkeypatch):
    first = probe(settings(heads=[{"kind": "linear"}]))
    monkeypatch.setattr(extraction, "compute_features", lambda *a, **k: pytest.fail("computed again"))
    again = probe(settings(heads=[{"kind": "linear"}]))
    assert again.table.to_dict() == first.table.to_dict()


def test_a_new_model_gets_new_features(settings, trained, tmp_path):
    probe(settings())
    before = len(list((tmp_path / "features").iterdir()))
    state = torch.load(find_checkpoint(trained), weights_only=True)
    state["objective"]["target_encoder.norm.weight"] *= 2
    torch.save(state, tmp_path / "other.pt")
    probe(settings(model=str(tmp_path / "other.pt")))
    # Raw pixels and the untrained encoder of the same seed are still the same.
    assert len(list((tmp_path / "features").iterdir())) == before + 2


def test_clips_of_one_video_are_averaged(settings):
    one, three = probe(settings()), probe(settings("clips.clips_per_video=3"))
    assert three.table.test_size == one.table.test_size == 16


def test_heads_may_be_chosen_on_a_list_of_their_own(settings, held_out, videos):
    aside = {"kind": "csv", "path": str(held_out / "kinds.csv")}
    assert probe(settings(heads=small_heads(), validation=aside)).table.train_size == 24


def test_training_clips_may_have_fewer_views_than_test_clips(settings, tmp_path):
    probe(settings("clips.views=3", "train_views=1"))
    sizes = [
        (
            json.loads((folder / "manifest.json").read_text())["entries"],
            len(FeatureStore.open(folder).clips()),
        )
        for folder in (tmp_path / "features").iterdir()
    ]
    assert sorted(set(sizes)) == [(16, 48), (24, 24)]


def test_features_on_disk_are_used_and_name_their_model(settings, trained, videos, held_out, tmp_path):
    for name, folder in (("train", videos), ("test", held_out)):
        embed(trained, folder / "kinds.csv", tmp_path / name, overrides=["clips.workers=0"])
    result = probe(
        train=tmp_path / "train",
        test=tmp_path / "test",
        run_dir=tmp_path / "probe",
        overrides=[f"features_dir={tmp_path / 'features'}", "clips.workers=0"],
    )
    usual = probe(settings()).table
    assert result.table.find("pretrained").mean("accuracy") == usual.find("pretrained").mean("accuracy")


def test_mismatched_feature_folders_are_refused(settings, trained, videos, held_out, tmp_path):
    embed(trained, videos / "kinds.csv", tmp_path / "train", overrides=["clips.workers=0"])
    embed(trained, held_out / "kinds.csv", tmp_path / "test", overrides=["clips.workers=0", "clips.stride=2"])
    sides = {side: {"kind": "features", "path": str(tmp_path / side)} for side in ("train", "test")}
    with pytest.raises(DataError, match=r"test does not hold the features of .*stride 2, not 1"):
        probe(settings(**sides))
    with pytest.raises(DataError, match=r"train has no tokens; run `jepa embed --tokens`"):
        probe(settings(**sides | {"test": settings().test.model_dump()}, heads=[{"kind": "attentive"}]))
    embed(trained, held_out / "appearance.csv", tmp_path / "other", overrides=["clips.workers=0"])
    with pytest.raises(DataError, match="probe features of lists with the same classes"):
        probe(settings(train=sides["train"], test={"kind": "features", "path": str(tmp_path / "other")}))


def test_numbers_are_predicted(settings, videos, held_out):
    for folder in (videos, held_out):
        names = sorted(path.name for path in folder.glob("*.mp4"))
        rows = [f"{name},{index % 5 / 2},{index % 3}" for index, name in enumerate(names)]
        (folder / "numbers.csv").write_text("\n".join(["path,speed,turn", *rows]))
    sources = [
        {"kind": "csv", "path": str(folder / "numbers.csv"), "targets": ["speed", "turn"]}
        for folder in (videos, held_out)
    ]
    result = probe(
        settings(kind="values", train=sources[0], test=sources[1], heads=small_heads(), metric="MAE")
    )
    assert result.table.metric == "MAE" and result.table.classes == ("speed", "turn")
    assert result.table.find("training mean").mean("R2") <= 0
    assert result.table.find("raw pixels", "MLP") is not None


def test_several_labels_at_once(settings, videos, held_out):
    for folder in (videos, held_out):
        names = sorted(path.name for path in folder.glob("*.mp4"))
        rows = [
            f"{name},{'a;b' if index % 2 else 'b' if index % 3 else 'c'}" for index, name in enumerate(names)
        ]
        (folder / "several.csv").write_text("\n".join(["path,label", *rows]))
    sources = [
        {"kind": "csv", "path": str(folder / "several.csv"), "separator": ";"}
        for folder in (videos, held_out)
    ]
    result = probe(settings(kind="labels", train=sources[0], test=sources[1], heads=small_heads()))
    assert result.table.metric == "mAP" and 0 < result.table.find("pretrained").mean("mAP") <= 1


def test_anticipation_adds_what_the_predictor_expects(settings, videos, held_out):
    for folder in (videos, held_out):
        names = sorted(path.name for path in folder.glob("*.mp4"))
        rows = [f"{name},{index % 2},10,16" for index, name in enumerate(names)]
        (folder / "later.csv").write_text("\n".join(rows))
    sources = [{"kind": "csv", "path": str(folder / "later.csv")} for folder in (videos, held_out)]
    plain = settings("clips.ahead_s=.25", train=sources[0], test=sources[1])
    with_predictor = plain.model_copy(update={"predict_steps": 2})
    probe(plain)
    result = probe(with_predictor)
    assert result.table.find("random init") is not None and result.table.test_size == 16


def test_bad_input_is_answered_before_anything_is_written(settings, videos, held_out, tmp_path):
    names = sorted(path.name for path in held_out.glob("*.mp4"))
    (held_out / "strange.csv").write_text("\n".join(f"{name},sideways" for name in names))
    (videos / "one.csv").write_text("\n".join(f"{path.name},same" for path in sorted(videos.glob("*.mp4"))))
    (videos / "none.csv").write_text("\n".join(path.name for path in sorted(videos.glob("*.mp4"))))

    def listed(path: Path) -> dict:
        return {"kind": "csv", "path": str(path)}

    with pytest.raises(DataError, match=r"labels \['sideways'\] are not among the 4 known classes"):
        probe(settings(test=listed(held_out / "strange.csv")))
    with pytest.raises(ConfigError, match="metric: 'accuracu' is not measured here; one of accuracy"):
        probe(settings(metric="accuracu"))
    assert not (tmp_path / "probe").exists()
    with pytest.raises(DataError, match="24 of 24 samples have no label"):
        probe(settings(train=listed(videos / "none.csv"), test=listed(videos / "none.csv")))
    with pytest.raises(DataError, match="a probe needs two classes or more"):
        probe(settings(train=listed(videos / "one.csv"), test=listed(videos / "one.csv")))
    with pytest.raises(ConfigError, match="give a CONFIG, or --train and --test"):
        probe(model="x")


def test_a_model_that_does_not_say_how_clips_are_cut_asks(settings, monkeypatch):
    from jepa.models import zoo

    plain = zoo.load_frozen

    def forgetful(*args, **kwargs):
        from dataclasses import replace

        return replace(plain(*args, **kwargs), read=None)

    monkeypatch.setattr(program, "load_frozen", forgetful)
    with pytest.raises(ConfigError, match=r"does not say how clips are cut; set clips.frames_per_clip"):
        probe(settings())


def test_copies_of_a_run_share_their_features(settings, trained, tmp_path, monkeypatch):
    probe(settings())
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.setattr(extraction, "compute_features", lambda *a, **k: pytest.fail("computed again"))
    probe(settings(model=str(tmp_path / "copy")))
