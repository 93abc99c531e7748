"""Bad files are counted once each, listed, and end a run when they are many."""

import json

import pytest

from jepa.data.bad_files import BadFiles
from jepa.errors import DataError
from jepa.types import BadFile


def test_counts_different_files_and_lists_them(tmp_path):
    found = BadFiles(tmp_path, total=100, max_fraction=0.5)
    found.add([])
    assert not found.path.exists()
    found.add([BadFile("a", "empty"), BadFile("a", "empty"), BadFile("b", "truncated")])
    found.add([BadFile("a", "empty")])
    assert (len(found), found.fraction) == (2, 0.02)
    assert [json.loads(line) for line in found.path.read_text().splitlines()] == [
        {"path": "a", "reason": "empty"},
        {"path": "b", "reason": "truncated"},
    ]


def test_stops_past_the_limit(tmp_path):
    found = BadFiles(tmp_path, total=100, max_fraction=0.01)
    found.add([BadFile("a", "empty")])
    with pytest.raises(
        DataError, match=r"2 of 100 files cannot be read \(2.0%\), the last b: cut — .*allows 1.0% — repair"
    ):
        found.add([BadFile("b", "cut")])
    assert len(found.path.read_text().splitlines()) == 2


def test_goes_on_from_an_interrupted_run(tmp_path):
    BadFiles(tmp_path, total=100, max_fraction=0.5).add([BadFile("a", "empty")])
    with (tmp_path / "bad_files.jsonl").open("a") as file:
        file.write('{"path": "b", "rea')
    again = BadFiles(tmp_path, total=100, max_fraction=0.5)
    again.add([BadFile("a", "empty")])
    assert len(again) == 1
