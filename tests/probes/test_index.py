import re

import numpy as np
import pytest
import torch

from jepa.errors import DataError
from jepa.probes import index as module
from jepa.probes.index import KINDS, build_index, load_index


def clustered(rows, width=32, seed=0):
    """Rows around centres, and queries around the same centres."""
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((rows // 50, width))

    def sample(count):
        return centres[draw.integers(0, len(centres), count)] + 0.6 * draw.standard_normal((count, width))

    return sample(rows).astype(np.float32), sample(100).astype(np.float32)


def nearest(rows, queries, k):
    rows, queries = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows.astype(float), queries.astype(float))
    )
    similarity = queries @ rows.T
    order = np.argsort(-similarity, axis=1)[:, :k]
    return np.take_along_axis(similarity, order, 1), order


def recall(found, truth):
    return np.mean(
        [len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_finds_nearly_all_of_the_nearest(kind):
    rows, queries = clustered(4000)
    similarity, found = build_index(rows, kind=kind).search(queries, 10)
    expected, truth = nearest(rows, queries, 10)
    assert recall(found, truth) >= (1 if kind == "flat" else 0.95)
    assert (similarity.diff(dim=1) <= 0).all()
    unit = torch.nn.functional.normalize(torch.from_numpy(rows), dim=1)
    asked = torch.nn.functional.normalize(torch.from_numpy(queries), dim=1)
    torch.testing.assert_close(similarity, (unit[found] * asked[:, None]).sum(2), atol=1e-5, rtol=1e-5)
    if kind == "flat":
        np.testing.assert_allclose(similarity, expected, atol=1e-5)


def test_many_queries_are_answered_as_each_alone_and_the_settings_of_faiss_are_put_back(monkeypatch):
    rows, queries = clustered(3000)
    index, seen, settings = build_index(rows, kind="flat"), [], module.faiss.cvar
    store, threads = index._store, module.faiss.omp_get_max_threads()

    class Watched:
        ntotal, d = len(rows), rows.shape[1]

        def search(self, asked, k):
            seen.append((settings.distance_compute_blas_threshold, module.faiss.omp_get_max_threads()))
            if k == 7:
                raise RuntimeError("faiss failed")
            return store.search(asked, k)

    monkeypatch.setattr(settings, "distance_compute_blas_threshold", 54_321)
    monkeypatch.setattr(index, "_store", Watched())
    module.faiss.omp_set_num_threads(2)
    try:
        together = index.search(queries, 10)
        alone = [index.search(query[None], 10) for query in queries]
        few = index.search(queries[:3], 10)
        assert seen == [(1, 2)] + 100 * [(54_321, 1)] + [(54_321, 2)]
        for asked in (queries, queries[:1]):
            with pytest.raises(RuntimeError, match="faiss failed"):
                index.search(asked, 7)
            assert (settings.distance_compute_blas_threshold, module.faiss.omp_get_max_threads()) == (
                54_321,
                2,
            )
    finally:
        module.faiss.omp_set_num_threads(threads)
    joined = [torch.cat(part) for part in zip(*alone, strict=True)]
    torch.testing.assert_close(together[0], joined[0], atol=1e-6, rtol=0)
    assert (together[1] == joined[1]).all() and (few[1] == together[1][:3]).all()


def test_of_copies_any_is_answered_but_none_twice():
    rows, queries = clustered(300)
    copies = np.random.default_rng(0).permutation(np.tile(rows, (20, 1)))
    similarity, found = build_index(copies, kind="flat").search(queries, 30)
    np.testing.assert_allclose(similarity, nearest(copies, queries, 30)[0], atol=1e-5)
    assert all(len(set(one)) == 30 for one in found.tolist())
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (copies, queries)]
    np.testing.assert_allclose(similarity, (unit[0][found] * unit[1][:, None]).sum(2), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_any_number_up_to_all_rows_is_answered(kind):
    """Lists that are read and links that are followed may hold fewer rows than asked for."""
    rows, queries = clustered(600)
    rows[:300] = rows[0]  # copies, which a graph may fail to link
    _, found = build_index(rows, kind=kind).search(queries, 600)
    assert (found.sort(dim=1).values == torch.arange(600)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_memory_maps_are_read_in_chunks(kind, tmp_path, monkeypatch):
    rows, queries = clustered(1000)
    held = np.memmap(tmp_path / "rows", np.float16, "w+", shape=rows.shape)
    held[:] = rows
    whole = build_index(torch.from_numpy(rows).half(), kind=kind).search(queries, 5)
    monkeypatch.setattr(module, "CHUNK", 300)
    chunked = build_index(held, kind=kind).search(torch.from_numpy(queries), 5)
    torch.testing.assert_close(whole, chunked)


def test_length_does_not_matter():
    rows, queries = clustered(300)
    scaled = build_index(rows * np.linspace(0.01, 100, 300, dtype=np.float32)[:, None]).search(9 * queries, 5)
    assert (scaled[1] == build_index(rows).search(queries, 5)[1]).all()


def test_auto_is_flat_until_comparing_with_all_is_slow(monkeypatch):
    rows, _ = clustered(200)
    monkeypatch.setattr(module, "FLAT_UP_TO", 200)
    assert build_index(rows).kind == "flat"
    monkeypatch.setattr(module, "FLAT_UP_TO", 199)
    assert build_index(rows).kind == "ivf"


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_answers_the_same(kind, tmp_path):
    rows, queries = clustered(1000)
    built = build_index(rows, kind=kind, fingerprint="encoder 7")
    loaded = load_index(built.save(tmp_path / "sub" / "rows.index"), fingerprint="encoder 7")
    assert (loaded.kind, len(loaded), loaded.width, loaded.fingerprint) == (kind, 1000, 32, "encoder 7")
    torch.testing.assert_close(loaded.search(queries, 20), built.search(queries, 20), rtol=0, atol=0)
    torch.testing.assert_close(loaded.search(queries, 1000), built.search(queries, 1000), rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["rows.index"]


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    rows, _ = clustered(100)
    path = build_index(rows, fingerprint="old").save(tmp_path / "rows.index")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(DataError, match="cannot write the index .*disk full; make room"):
        build_index(rows, fingerprint="new").save(path)
    assert load_index(path).fingerprint == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["rows.index"]


def test_damaged_and_foreign_files_are_refused_before_faiss_reads_them(tmp_path, monkeypatch):
    path = build_index(clustered(100)[0], fingerprint="a").save(tmp_path / "rows.index")
    whole = path.read_bytes()
    monkeypatch.setattr(module.faiss, "read_index", lambda *_: pytest.fail("faiss read it"))

    def refuses(content, message):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_index(path)

    refuses(whole[:-10], "is damaged: its contents")
    refuses(whole + b"x", "is damaged")
    refuses(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], "is damaged.*build it again")
    refuses(b"\x80\x04pickle", re.escape(r"is not an index (it starts with b'\x80\x04pickle')"))
    refuses(b"", "is not an index")
    refuses(b"[1]", "is not an index")
    refuses(whole.replace(b'"format": 1', b'"format": 9', 1), "has format 9; this version reads 1")
    path.write_bytes(whole)
    with pytest.raises(
        DataError, match=r"built on other features \('a'\) than these \('b'\); build it again"
    ):
        load_index(path, fingerprint="b")
    with pytest.raises(DataError, match="does not exist"):
        load_index(tmp_path / "nothing")


def test_refuses_rows_that_have_no_direction(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 40)
    rows, queries = clustered(100)
    index = build_index(rows)
    with pytest.raises(DataError, match="between 1 and the 100 rows of the index, got 101"):
        index.search(queries, 101)
    with pytest.raises(DataError, match="got 0"):
        index.search(queries, 0)
    with pytest.raises(DataError, match="queries have width 31, but the index was built on 32"):
        index.search(queries[:, 1:], 3)
    with pytest.raises(DataError, match=r"queries must be \(rows, width\)"):
        index.search(queries[0], 3)
    broken = rows.copy()
    broken[70, 3] = np.nan
    broken[75, 3] = np.inf
    with pytest.raises(DataError, match="features: 2 rows hold NaN or infinity, first row 70"):
        build_index(broken)
    rows[90] = 0
    with pytest.raises(DataError, match="features: 1 rows are all zeros, first row 90"):
        build_index(rows)
    with pytest.raises(ValueError, match="kind: must be auto, flat, ivf, hnsw, got 'tree'"):
        build_index(rows, kind="tree")
    with pytest.raises(ValueError, match="fingerprint must be ASCII"):
        build_index(rows, fingerprint="x" * 600)
