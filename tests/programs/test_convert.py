"""Weights are written whole or not at all, compared, and described; nothing else is touched."""

import json
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch

from jepa import load_encoder, load_world_model
from jepa.config.architecture import Architecture
from jepa.config.method import ModelConfig, SizeConfig
from jepa.errors import CheckpointError, ConfigError, RunError
from jepa.models.formats import formats
from jepa.models.formats.base import Source
from jepa.models.formats.exported import Exported
from jepa.programs import convert as program
from jepa.programs.convert import convert, put, target_named
from jepa.programs.show_weights import show_weights
from jepa.runtime.checkpoint import list_checkpoints
from tests.models.formats.exporting import small, small_world, world_config


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported encoder that no run knows of."""
    path = tmp_path_factory.mktemp("exported") / "small"
    Exported().save(small(), path)
    return path


def test_a_run_is_exported_with_what_it_knows(trained: Path, tmp_path: Path) -> None:
    result = convert(str(trained), "jepa", tmp_path / "out", licence="mit")
    assert (result.kind, result.format, result.difference, result.left_out) == ("encoder", "jepa", 0.0, ())
    assert result.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    clip = torch.randn(1, 3, 4, 16, 16)
    ours, theirs = (load_encoder(each, device="cpu") for each in (trained, tmp_path / "out"))
    assert torch.equal(ours(clip), theirs(clip))
    notes = Exported().read_config(Source(str(tmp_path / "out"))).notes
    assert notes.licence == "mit"
    assert notes.training is not None and notes.training.startswith("2 steps of vjepa")
    assert notes.data == ("motion.csv (csv)",)


def test_the_encoder_that_was_trained_is_another(trained: Path, tmp_path: Path) -> None:
    for weights in ("target", "encoder"):
        convert(str(trained), "jepa", tmp_path / weights, weights=weights)
    clip = torch.randn(1, 3, 4, 16, 16)
    target, encoder = (load_encoder(tmp_path / name, device="cpu")(clip) for name in ("target", "encoder"))
    assert not torch.equal(target, encoder)
    assert torch.equal(encoder, load_encoder(trained, device="cpu", weights="encoder")(clip))


def test_probe_numbers_come_with_their_protocol(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text((trained / "config.yaml").read_text())
    (run / "checkpoints").symlink_to(trained / "checkpoints")
    measured = {"accuracy": [{"value": 0.5, "low": 0.4, "high": 0.6}]}
    table = {
        "task": "motion",
        "metric": "accuracy",
        "pooling": "mean",
        "train_size": 2048,
        "test_size": 512,
        "seeds": 1,
        "rows": [{"name": "pretrained", "head": "linear", "headline": True, "measures": measured}],
    }
    (run / "summary.json").write_text(json.dumps({"version": "0.1.0", "commit": "abc", "probes": [table]}))
    checkpoint = list_checkpoints(run)[-1][1]
    convert(str(checkpoint), "jepa", tmp_path / "out")  # a checkpoint knows its run
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# run\n" in card
    assert "| motion: pretrained, linear head | accuracy | 0.5 | 0.4 to 0.6 (95 %) |" in card
    assert "linear fitted on 2,048 entries and scored once on 512 held-out ones, 1 seed." in card
    assert "2 steps of vjepa, with jepa 0.1.0, commit abc" in card
    # An export of the export still knows, and a licence given then is new.
    convert(str(tmp_path / "out"), "jepa", tmp_path / "again", licence="mit")
    again = (tmp_path / "again" / "README.md").read_text()
    assert "| motion: pretrained, linear head | accuracy | 0.5" in again
    assert 'license: "mit"' in again


def test_a_world_model_is_exported_with_its_errors(world: Path, tmp_path: Path) -> None:
    result = convert(str(world), "jepa", tmp_path / "out")
    assert (result.kind, result.difference, result.left_out) == ("world-model", 0.0, ())
    assert load_world_model(tmp_path / "out", device="cpu").value is not None
    card = (tmp_path / "out" / "README.md").read_text()
    errors = json.loads((world / "summary.json").read_text())["prediction"]["world_model"]
    assert f"| prediction 4 model steps ahead | error | {errors[3]:.4g} |" in card
    assert "- episodes (store)" in card
    assert str(world.parent) not in card + (tmp_path / "out" / "config.json").read_text()


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("hugo", "trained", r"format 'hugo' is no known format; .*encoder; choose one of .*jepa"),
        ("run", "trained", r"format 'run' is not written from this kind, encoder; choose one of"),
        ("hf", "world", r"format 'hf' is not written from this kind, world-model; choose one of .*jepa"),
    ],
)
def test_a_format_that_is_not_written_is_named(
    target: str, kind: str, message: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ConfigError, match=message):
        convert(str(request.getfixturevalue(kind)), target, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["jepa", "jepa:", ":out"])
def test_the_target_is_a_format_and_a_path(text: str) -> None:
    with pytest.raises(ConfigError, match="is no FORMAT:PATH; write it like jepa:exported"):
        target_named(text)
    assert target_named("hf:/a/b:c") == ("hf", Path("/a/b:c"))


def test_what_lies_there_is_only_replaced_when_asked(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(str(exported), "jepa", out)
    (out / "model.safetensors").write_bytes(b"older")
    with pytest.raises(RunError, match="out exists; give another path, or --overwrite"):
        convert(str(exported), "jepa", out)
    assert (out / "model.safetensors").read_bytes() == b"older"
    assert convert(str(exported), "jepa", out, overwrite=True).difference == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_other_things_is_never_replaced(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        RunError, match=r"holds other things than what is written \(thesis\.tex\), and is not replaced"
    ):
        convert(str(exported), "jepa", tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_working_directory_is_a_place_too(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    convert(str(exported), "jepa", Path("."))
    assert (tmp_path / "here" / "config.json").is_file()


def test_an_export_onto_itself_is_whole(exported: Path, tmp_path: Path) -> None:
    convert(str(exported), "jepa", tmp_path / "out")
    before = load_encoder(tmp_path / "out", device="cpu").state_dict()
    assert convert(str(tmp_path / "out"), "jepa", tmp_path / "out", overwrite=True).difference == 0
    after = load_encoder(tmp_path / "out", device="cpu").state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_write_that_fails_leaves_what_was_there(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    convert(str(exported), "jepa", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full_disk(self: Exported, frozen: object, path: Path) -> None:
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Exported, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        convert(str(exported), "jepa", out, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_comes_back_different_is_told(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Exported.save

    def careless(self: Exported, frozen, path: Path) -> None:
        frozen.encoder.norm.bias.data += 0.5
        save(self, frozen, path)
        frozen.encoder.norm.bias.data -= 0.5

    monkeypatch.setattr(Exported, "save", careless)
    result = convert(str(exported), "jepa", tmp_path / "out")
    assert result.difference is not None and result.difference > 0.1
    assert "outputs differ by at most" in str(result)


def test_what_is_not_finite_is_not_kept(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Exported.save

    def broken(self: Exported, frozen, path: Path) -> None:
        frozen.encoder.norm.bias.data[0] = float("nan")
        save(self, frozen, path)

    monkeypatch.setattr(Exported, "save", broken)
    with pytest.raises(CheckpointError, match="numbers that are not finite; nothing was kept"):
        convert(str(exported), "jepa", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_files_written_beside_go_with_it(tmp_path: Path) -> None:
    with put(tmp_path / "model.onnx", overwrite=False) as part:
        part.write_text("graph")
        part.with_name("model.onnx.data").write_text("weights")
        assert not (tmp_path / "model.onnx").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    with pytest.raises(RunError, match=r"model\.onnx\.data exists"):
        with put(tmp_path / "other.onnx", overwrite=False) as part:
            part.write_text("graph")
            part.with_name("model.onnx.data").write_text("other weights")
    assert (tmp_path / "model.onnx.data").read_text() == "weights"
    assert not (tmp_path / "other.onnx").exists()


def test_what_is_taken_away_comes_back_when_nothing_can_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_text("older")
    replace = os.replace

    def once(old: Path, new: Path) -> None:
        if Path(old).parent.name == "new":
            raise OSError(5, "Input/output error")
        replace(old, new)

    monkeypatch.setattr(program.os, "replace", once)
    with pytest.raises(OSError, match="Input/output"), put(tmp_path / "model.onnx", overwrite=True) as part:
        part.write_text("graph")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_a_place_that_cannot_be_written_to_is_named(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write beside .*; give a place you can write to"):
        convert(str(exported), "jepa", tmp_path / "file" / "out")


class Hub(ModuleType):
    """Stands in for huggingface_hub: notes what it is asked, and sends nothing."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("huggingface_hub")
        self.calls: list[tuple[str, dict]] = []
        self.error = error

    def create_repo(self, name: str, **settings: object) -> None:
        self.calls.append((name, settings))
        if self.error:
            raise self.error

    def upload_folder(self, **settings: object) -> None:
        self.calls.append(("folder", settings))


def test_push_sends_the_finished_folder_to_a_private_repository(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(program, "need", lambda module, extra: hub)
    result = convert(str(exported), "jepa", tmp_path / "out", push="me/small")
    assert hub.calls == [
        ("me/small", {"private": True, "exist_ok": True}),
        ("folder", {"repo_id": "me/small", "folder_path": str(tmp_path / "out")}),
    ]
    assert result.url == "https://huggingface.co/me/small"


def test_a_push_that_fails_says_that_the_folder_is_there(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "need", lambda module, extra: Hub(OSError("401 Unauthorized")))
    with pytest.raises(RunError, match=r"is written, but was not pushed to me/small .*401.*hf auth login"):
        convert(str(exported), "jepa", tmp_path / "out", push="me/small")
    assert load_encoder(tmp_path / "out", device="cpu").dim == 48


def test_push_asks_for_the_package_before_any_work(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(RunError, match=r"pip install 'jepa\[hub\]'"):
        convert(str(exported), "jepa", tmp_path / "out", push="me/small")
    assert not list(tmp_path.iterdir())


def test_of_an_encoder_of_videos_timm_keeps_what_it_does_to_images(tmp_path: Path) -> None:
    model = ModelConfig(
        size=SizeConfig(width=48, depth=1, heads=3), patch=8, positions="sincos", position_grid=(2, 2, 2)
    )
    Exported().save(small(Architecture(model=model, resolution=16)), tmp_path / "video")
    result = convert(str(tmp_path / "video"), "timm", tmp_path / "out")
    assert result.left_out == ("embedding of videos",)
    assert result.difference is not None and result.difference < 1e-4
    shown = show_weights(str(tmp_path / "out"))
    assert (shown.format, shown.facts["encoder"]) == ("timm", "ViT, width 48, depth 1")


def test_the_encoder_inside_a_world_model_is_under_the_same_licence(exported: Path, tmp_path: Path) -> None:
    dynamics = {"kind": "tokens", "width": 16, "depth": 1, "heads": 2, "history": 2}
    frames = {"kind": "frozen", "source": str(exported)}
    model = small_world(world_config(frames, dynamics=dynamics, objective={"kind": "ac"}))
    Exported().save_world_model(model, tmp_path / "world")
    result = convert(str(tmp_path / "world"), "jepa", tmp_path / "out", licence="mit")
    assert (result.kind, result.difference) == ("world-model", 0.0)
    for folder in (tmp_path / "out", tmp_path / "out" / "encoder"):
        assert 'license: "mit"' in (folder / "README.md").read_text()
    counts = Exported().read_config(Source(str(tmp_path / "out"))).parameters
    assert set(counts) == {"encoder", "dynamics"}


def test_every_format_says_what_it_writes() -> None:
    writes = {name: each.writes() for name, each in formats().items()}
    assert writes["jepa"] == ("encoder", "world-model")
    assert writes["run"] == ()
