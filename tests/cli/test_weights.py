"""`jepa export`, `jepa convert` and `jepa show` on the command line."""

import json
from pathlib import Path

import pytest

from jepa.models.formats.exported import Exported
from tests.models.formats.exporting import small
from tests.policy.test_imports import help_of, loaded_by


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "small"
    Exported().save(small(), path)
    return path


def test_export_writes_compares_and_answers_in_one_line(jepa, exported: Path, tmp_path: Path) -> None:
    done = jepa("export", exported, "--out", tmp_path / "out", "--licence", "mit", "--json")
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["format"], result["kind"], result["difference"]) == ("jepa", "encoder", 0.0)
    assert result["path"] == str(tmp_path / "out")
    assert 'license: "mit"' in (tmp_path / "out" / "README.md").read_text()
    again = jepa("export", exported, "--out", tmp_path / "out")
    assert (again.code, again.stdout) == (1, "")
    assert "--overwrite" in again.stderr
    assert (
        "outputs differ by at most 0"
        in jepa("export", exported, "--out", tmp_path / "out", "--overwrite").stdout
    )


def test_convert_takes_a_format_and_a_path(jepa, exported: Path, tmp_path: Path) -> None:
    done = jepa("convert", exported, f"jepa:{tmp_path / 'out'}")
    assert done.code == 0, done.stderr
    assert str(tmp_path / "out") in done.stdout
    wrong = jepa("convert", exported, tmp_path / "other")
    assert wrong.code == 2
    assert "is no FORMAT:PATH" in wrong.stderr
    unknown = jepa("convert", exported, f"hugo:{tmp_path / 'other'}")
    assert unknown.code == 2
    assert "format 'hugo' is no known format" in unknown.stderr


def test_show_of_weights(jepa, exported: Path, tmp_path: Path) -> None:
    done = jepa("show", exported)
    assert done.code == 0, done.stderr
    assert "jepa: a folder that jepa exported" in done.stdout
    assert json.loads(jepa("show", exported, "--json").stdout)["kind"] == "encoder"
    (tmp_path / "page.pt").write_text("<html>")
    bad = jepa("show", tmp_path / "page.pt")
    assert bad.code == 1
    assert bad.stderr.startswith("error: ") and "is a web page" in bad.stderr


@pytest.mark.parametrize("verb", ["export", "convert", "show"])
def test_help_is_given_without_torch(verb: str) -> None:
    assert loaded_by(help_of(verb)) == set()
