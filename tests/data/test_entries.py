"""Columns give back what went in, and nothing else knows that they are columns."""

import pickle

import pytest
import torch

from jepa.data import columns
from jepa.data.columns import Coder, StringsBuilder
from jepa.data.entries import ColumnsBuilder, Entries, Entry, Row, Rows

TEXTS = ["", "a", "ü/ö.mp4", "\udcff.mp4", "b" * 300, ""]
ROWS = [
    Row("a/b.mp4", "run", 0, None, (0.5, -1.0)),
    Row("c.mp4", None, 3, 9, (1e300, 2.0)),
    Row("/x/y/ü.mp4", "jump", 2**40, 2**40 + 1, (0.0, 0.0)),
    Row("a/", "run", 0, 1, (0.0, 0.0)),
]


def built(rows):
    builder = ColumnsBuilder(len(rows[0].targets))
    for row in rows:
        builder.append(row.path, row.label, row.start, row.end, row.targets)
    return builder.build()


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_strings(monkeypatch, chunk):
    monkeypatch.setattr(columns, "CHUNK", chunk)
    strings = StringsBuilder(TEXTS).build()
    assert list(strings) == [strings[place] for place in range(len(TEXTS))] == TEXTS
    assert (strings[-2], strings[1:3], len(strings)) == (TEXTS[-2], tuple(TEXTS[1:3]), 6)
    assert list(StringsBuilder().build()) == []
    with pytest.raises(IndexError):
        strings[6]


def test_numbers_of_strings():
    coder = Coder()
    assert [coder.number(text) for text in ("b", "a", "b", "c")] == [0, 1, 0, 2]
    assert coder.names == ("b", "a", "c")


def test_rows_come_back():
    rows = Rows(built(ROWS))
    assert list(rows) == ROWS and rows == ROWS and rows[-1] == ROWS[-1] and rows[::2] == tuple(ROWS[::2])
    assert list(rows.paths()) == [row.path for row in ROWS]
    with pytest.raises(IndexError):
        rows[4]


def test_entries_number_their_labels():
    numbers = {"run": (1, ()), "jump": (None, (0, 2))}
    entries = Entries(built(ROWS), lambda cell: numbers[cell])
    assert entries[0] == Entry("a/b.mp4", 1, 0, None, (), (0.5, -1.0))
    assert entries[2] == Entry("/x/y/ü.mp4", None, 2**40, 2**40 + 1, (0, 2), (0.0, 0.0))
    assert entries[1].label is None and entries[1].labels == ()
    assert {entries[0]: "known"}[Entry("a/b.mp4", 1, 0, None, (), (0.5, -1.0))] == "known"


def test_entries_are_equal_to_themselves_in_another_process():
    entries = Entries(built(ROWS), lambda cell: (0, ()))
    assert pickle.loads(pickle.dumps(entries)) == entries
    assert entries != entries[:2]


def test_a_line_holds_no_objects():
    entries = Entries(built(ROWS * 50), lambda cell: (0, ()))
    held = [value for value in entries.columns.__getstate__() if hasattr(value, "nbytes")]
    assert sum(array.nbytes for array in held) == 200 * (4 + 4 + 8 + 8 + 2 * 8)
    assert torch.from_numpy(entries.columns.targets).shape == (200, 2)
