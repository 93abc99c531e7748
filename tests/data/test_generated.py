"""The generated set is written once, whole, and never mistaken for another."""

import pytest

from jepa.config.data import SyntheticSource
from jepa.data import generated, synthetic
from jepa.data.generated import ensure_generated
from jepa.data.sources import open_source
from jepa.errors import DataError


def config(path, **changes):
    return SyntheticSource(
        kind="synthetic", path=str(path), **{"videos": 4, "frames": 3, "size_px": 16} | changes
    )


def test_is_written_once(tmp_path):
    listed = ensure_generated(config(tmp_path / "set"))
    assert len(listed.read_text().splitlines()) == 4
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "set").iterdir()}
    ensure_generated(config(tmp_path / "set"))
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "set").iterdir()} == before


def test_both_labels_share_the_videos(tmp_path):
    motion, appearance = (
        open_source(config(tmp_path / "set", label=label)) for label in ("motion", "appearance")
    )
    assert [entry.path for entry in motion.entries] == [entry.path for entry in appearance.entries]
    assert "north" in motion.classes or "east" in motion.classes or len(motion.classes) > 1
    assert motion.classes != appearance.classes


def test_another_set_is_refused(tmp_path):
    ensure_generated(config(tmp_path / "set"))
    with pytest.raises(
        DataError, match=r"holds another set .*seed 0, videos 4; wanted seed 1, videos 5.*choose another path"
    ):
        ensure_generated(config(tmp_path / "set", videos=5, seed=1))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds no set of synthetic videos .*choose another path"):
        ensure_generated(config(tmp_path))


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def fail(directory, **settings):
        (directory / "000000.mp4").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(generated, "write_videos", fail)
    with pytest.raises(KeyboardInterrupt):
        ensure_generated(config(tmp_path / "set"))
    assert list(tmp_path.iterdir()) == []


def test_a_faster_process_wins(tmp_path, monkeypatch):
    real = generated.write_videos

    def race(directory, **settings):
        monkeypatch.setattr(generated, "write_videos", real)
        ensure_generated(config(tmp_path / "set"))
        return real(directory, **settings)

    monkeypatch.setattr(generated, "write_videos", race)
    assert ensure_generated(config(tmp_path / "set")).exists()
    assert [file.name for file in tmp_path.iterdir()] == ["set"]


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def fail(directory, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generated, "write_videos", fail)
    with pytest.raises(DataError, match="cannot be written: .*No space left"):
        ensure_generated(config(tmp_path / "set"))


def test_a_set_from_before_a_label_existed_gets_its_list(tmp_path):
    fresh = ensure_generated(config(tmp_path / "set", label="next"))
    wanted, other = fresh.read_text(), (tmp_path / "set" / "motion.csv").stat().st_mtime_ns
    fresh.unlink()
    assert ensure_generated(config(tmp_path / "set", label="motion")).name == "motion.csv"
    assert not fresh.exists()  # only what is asked for
    assert ensure_generated(config(tmp_path / "set", label="next")).read_text() == wanted
    assert (tmp_path / "set" / "motion.csv").stat().st_mtime_ns == other
    assert not [file.name for file in (tmp_path / "set").iterdir() if file.name.startswith(".")]


def test_a_list_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    ensure_generated(config(tmp_path / "set", label="next")).unlink()

    def fail(path, rows):
        path.write_text("000000.mp4,top\n")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthetic, "_write_csv", fail)
    before = sorted((tmp_path / "set").iterdir())
    with pytest.raises(DataError, match=r"next.csv: this list is missing and cannot be written: .*No space"):
        ensure_generated(config(tmp_path / "set", label="next"))
    assert sorted((tmp_path / "set").iterdir()) == before
