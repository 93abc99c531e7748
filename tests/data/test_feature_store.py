"""Features on disk: whole or absent, read like one array, and never mistaken for others."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jepa.data import feature_store
from jepa.data.feature_store import CLIP, FeatureStore, Manifest, ShardedArray
from jepa.data.sources import Entry
from jepa.errors import DataError
from jepa.types import BadFile

ENTRIES = tuple(
    Entry(
        f"a, {n}.mp4",
        label=n % 2 if n else None,
        start=n,
        end=n + 5 if n else None,
        labels=(n, 0),
        targets=(n / 3,),
    )
    for n in range(5)
)
MANIFEST = Manifest(
    fingerprint="f" * 32,
    model="run",
    settings={"a": 1},
    config={"model": "run"},
    kinds=("mean", "tokens"),
    dtype="float16",
    source="list.csv",
    modality="video",
    classes=("x", "y"),
    targets=("speed",),
    entries=5,
    shard_entries=2,
)


def fill(store, shards):
    for shard in shards:
        places = store.places(shard)
        clips = np.array([(place, 0, 0, 0.5, 1.5) for place in places], CLIP)
        mean = np.array([[place, 1] for place in places], np.float32)
        store.write(shard, clips, {"mean": mean, "tokens": np.stack([mean, -mean], 1)}, [])


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "features", MANIFEST, ENTRIES)


def test_what_is_written_is_read(store):
    fill(store, [2, 0, 1])
    found = FeatureStore.open(store.root)
    assert found.manifest == MANIFEST
    assert found.source().entries == ENTRIES and found.source().classes == ("x", "y")
    assert found.clips()["entry"].tolist() == [0, 1, 2, 3, 4]
    tokens = found.array("tokens")
    assert tokens.shape == (5, 2, 2) and tokens.dtype == np.float16
    assert tokens[np.array([4, 0])][:, 1, 0].tolist() == [-4, 0]


def test_an_interrupted_folder_goes_on_where_it_stopped(store):
    fill(store, [1])
    (store.root / "shards" / "00000.part").mkdir()  # killed while writing
    again = FeatureStore.create(store.root, MANIFEST, ENTRIES)
    assert again.missing() == [0, 2]
    with pytest.raises(DataError, match="2 of 3 shards are missing; run the same `jepa embed` again"):
        FeatureStore.open(store.root)
    fill(again, again.missing())
    assert FeatureStore.open(store.root).missing() == []


def test_stale_features_are_refused(store):
    other = replace(MANIFEST, fingerprint="0" * 32, model="other")
    with pytest.raises(DataError, match="holds features of another model, other settings or other files"):
        FeatureStore.create(store.root, other, ENTRIES)


def test_labels_may_change_without_computing_anything_again(store):
    fill(store, range(3))
    relabelled = tuple(replace(entry, label=1) for entry in ENTRIES)
    FeatureStore.create(store.root, MANIFEST, relabelled)
    assert [entry.label for entry in FeatureStore.open(store.root).source().entries] == [1] * 5


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="is not empty and holds no features"):
        FeatureStore.create(tmp_path, MANIFEST, ENTRIES)
    with pytest.raises(DataError, match=r"holds no features \(there is no manifest.json\)"):
        FeatureStore.open(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"format": 99})])
def test_a_damaged_manifest_is_named(store, text):
    (store.root / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest.json is (damaged|no manifest)"):
        FeatureStore.open(store.root)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])  # the last one does not fit float16
def test_features_that_are_not_finite_are_refused_before_they_are_kept(store, value):
    clips = np.zeros(2, CLIP)
    bad = {"mean": np.full((2, 2), value, np.float32), "tokens": np.zeros((2, 2, 2), np.float32)}
    with (
        np.errstate(over="ignore"),
        pytest.raises(DataError, match=r"features \(mean\) of entries 0 to 1 are not finite as float16"),
    ):
        store.write(0, clips, bad, [])
    assert 0 in store.missing()


def test_bad_files_are_listed_and_leave_gaps(store):
    empty = {"mean": np.empty(0, np.float32), "tokens": np.empty(0, np.float32)}
    store.write(0, np.empty(0, CLIP), empty, [BadFile("a, 0.mp4", "empty"), BadFile("a, 1.mp4", "empty")])
    fill(store, [1, 2])
    found = FeatureStore.open(store.root)
    assert found.clips()["entry"].tolist() == [2, 3, 4] and len(found.array("mean")) == 3
    assert len((store.root / "bad_files.jsonl").read_text().splitlines()) == 2


def test_a_kind_that_is_not_there_is_refused(store):
    fill(store, range(3))
    with pytest.raises(DataError, match="holds mean, tokens, not time"):
        store.array("time")


def test_nothing_is_loaded_until_rows_are_read(store):
    fill(store, range(3))
    array = store.array("mean")
    array[:]
    assert all(isinstance(part, np.memmap) for part in array._open.values())


def saved(folder, parts):
    paths = [folder / f"{number}.npy" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    return ShardedArray(paths, [len(part) for part in parts])


def test_rows_of_a_sharded_array_equal_those_of_the_whole(tmp_path):
    whole = np.arange(60, dtype=np.float32).reshape(20, 3)
    parts = saved(tmp_path, [whole[:7], whole[7:8], whole[8:]])
    for rows in (
        slice(None),
        slice(5, 9),
        slice(None, None, -1),
        np.array([19, 0, 7, 7]),
        np.array([], dtype=int),
    ):
        assert np.array_equal(parts[rows], whole[rows])
    assert np.array_equal(np.asarray(parts), whole) and len(parts) == 20


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "MOST_OPEN", 3)
    array = saved(tmp_path, [np.full((2, 1), number) for number in range(9)])
    assert array[:][:, 0].tolist() == [number for number in range(9) for _ in range(2)]
    assert array[np.array([0, 17, 3])][:, 0].tolist() == [0, 8, 1]
    assert len(array._open) == 3


def test_no_features_at_all_is_an_error():
    with pytest.raises(DataError, match="every file was bad"):
        ShardedArray([], [])
