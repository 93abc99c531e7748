"""The nearest clips among many: an index over features that answers in milliseconds and is kept in one file."""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Literal

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepa.errors import ConfigError, DataError
from jepa.probes.rows import Rows, RowsOnDisk

Kind = Literal["flat", "ivf", "hnsw"]
Choice = Literal["auto", "flat", "ivf", "hnsw"]

KINDS: tuple[Kind, ...] = ("flat", "ivf", "hnsw")
FLAT_UP_TO = 50_000  # rows that comparing with all of them answers in some milliseconds
CHUNK = 65_536  # rows brought to float32 at once
LINKS, EF_CONSTRUCTION, EF_SEARCH = (
    32,
    80,
    128,
)  # HNSW: links per row, candidates while building and searching
ROWS_PER_LIST, KMEANS_ROUNDS = (
    40,
    8,
)  # IVF: training rows for each list (faiss asks for 39), rounds of k-means
PROBED = 1 / 64  # IVF: share of the lists that a search reads, and at least
LEAST_PROBED = 8
FEW_QUERIES = 4  # of fewer, each is compared by itself; from here on a matrix product is as fast or faster
FORMAT = 1
MAGIC, HEADER_BYTES = "jepa index", 1024
_THRESHOLD = Lock()  # faiss has one threshold for the whole process


class Index:
    """Rows of length one under cosine similarity; made by ``build_index`` or ``load_index``."""

    def __init__(self, store: Any, kind: Kind, fingerprint: str = "") -> None:
        self.kind, self.fingerprint = kind, fingerprint
        self._store = store

    def __len__(self) -> int:
        return int(self._store.ntotal)

    @property
    def width(self) -> int:
        """The number of features in a row, D."""
        return int(self._store.d)

    def search(self, queries: Rows, k: int) -> tuple[Tensor, Tensor]:
        """Return cosine similarities (m, k) float32, best first, and rows (m, k) long of the k nearest: (m, D).

        flat is exact, in blocks that are small in memory; the others miss some (benchmarks/search.py measures how
        many). The order of rows that are equally near is open. Raises DataError for queries of another width, with
        NaN or all zeros, and for a k that is not between 1 and the number of rows.
        """
        if not 1 <= k <= len(self):
            raise DataError(f"k must be between 1 and the {len(self)} rows of the index, got {k}")
        unit = _unit(_array(queries, "queries")[:], "queries")
        if unit.shape[1] != self.width:
            raise DataError(
                f"queries have width {unit.shape[1]}, but the index was built on {self.width}; "
                "give features of the same encoder and pooling"
            )
        with _suited_to(len(unit)):
            similarity, rows = self._store.search(unit, k)
            short = (rows < 0).any(axis=1)
            if short.any():  # the lists or links that were followed hold fewer than k rows
                similarity[short], rows[short] = self._search_all(unit[short], k)
        return torch.from_numpy(similarity), torch.from_numpy(rows)

    def save(self, path: str | Path) -> Path:
        """Write the index so that a reader finds the old file or the new one, never a part; return its path.

        Raises DataError when it cannot be written.
        """
        path = Path(path)
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(bytes(HEADER_BYTES))
                faiss.write_index(self._store, _faiss("PyCallbackIOWriter")(file.write))
                file.flush()
                header = self._header() | _seal(part)
                file.seek(0)
                file.write(json.dumps(header).ljust(HEADER_BYTES - 1).encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DataError(
                f"cannot write the index {path}: {error}; make room or give another path"
            ) from error
        return path

    def _header(self) -> dict[str, str | int]:
        """Return what a file says of itself before its rows."""
        return {"kind": self.kind, "rows": len(self), "width": self.width, "fingerprint": self.fingerprint}

    def _search_all(self, unit: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Compare with every row, whatever the kind."""
        store: Any = faiss.downcast_index(self._store)
        if self.kind == "ivf":
            return store.search(unit, k, params=_faiss("SearchParametersIVF")(nprobe=store.nlist))
        return store.storage.search(unit, k)


def build_index(features: Rows, *, kind: Choice = "auto", fingerprint: str = "") -> Index:
    """Index (n, D) features by cosine similarity; a memory map of any float type is read in chunks.

    flat compares with every row. hnsw follows a graph of 32 links a row (Malkov & Yashunin, arXiv:1603.09320).
    ivf reads 1 / 64 of about 4 sqrt(n) lists found by k-means on a sample. auto is flat up to 50,000 rows, then
    ivf, which builds far faster than hnsw and answers as fast (benchmarks/search.py). ``fingerprint`` names the
    features, so that ``load_index`` can refuse an index of others.
    Building is repeatable; hnsw on one thread only. Raises DataError for rows that are not finite or all zeros.
    """
    if kind not in ("auto", *KINDS):
        raise ConfigError(f"kind: must be auto, {', '.join(KINDS)}, got {kind!r}")
    if len(fingerprint) > HEADER_BYTES // 2 or not fingerprint.isascii():
        raise ValueError(f"fingerprint must be ASCII of {HEADER_BYTES // 2} characters or less")
    table = _array(features, "features")
    chosen: Kind = ("flat" if len(table) <= FLAT_UP_TO else "ivf") if kind == "auto" else kind
    store = _empty(table, chosen)
    for chunk in _chunks(table):
        store.add(chunk)
    return Index(store, chosen, fingerprint)


def load_index(path: str | Path, *, fingerprint: str | None = None) -> Index:
    """Read an index that ``Index.save`` wrote; the file is data only, and nothing in it is run.

    Raises DataError when the file is missing, is no index, is damaged, or was built on features of another
    ``fingerprint``.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; build the index first")
    with path.open("rb") as file:
        header = _read_header(file, path)
        if header.get("bytes") != path.stat().st_size or header.get("crc32") != _seal(path)["crc32"]:
            raise DataError(
                f"the index {path} is damaged: its contents are not what was written; build it again"
            )
        if fingerprint is not None and header["fingerprint"] != fingerprint:
            raise DataError(
                f"the index {path} was built on other features ({header['fingerprint']!r}) than these "
                f"({fingerprint!r}); build it again"
            )
        file.seek(HEADER_BYTES)
        store = faiss.read_index(_faiss("PyCallbackIOReader")(file.read))
    return Index(store, header["kind"], header["fingerprint"])


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    """Return the header of an index file, or refuse a file of another kind."""
    raw = file.read(HEADER_BYTES)
    try:
        header = json.loads(raw)
    except ValueError:  # bytes that are no text, text that is no JSON
        header = None
    if not isinstance(header, dict) or header.get("is") != MAGIC:
        raise DataError(
            f"{path} is not an index (it starts with {raw[:16]!r}); give a file that Index.save wrote"
        )
    if header.get("format") != FORMAT:
        raise DataError(
            f"the index {path} has format {header.get('format')!r}; this version reads {FORMAT}: build it again"
        )
    return header


def _seal(path: Path) -> dict[str, str | int]:
    """Return what tells a whole file from a damaged one: its size, and the CRC-32 of all behind its header."""
    crc = 0
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
        return {"is": MAGIC, "format": FORMAT, "bytes": file.tell(), "crc32": crc}


def _empty(table: NDArray[np.floating] | RowsOnDisk, kind: Kind) -> Any:
    """Return an index without rows that fits ``table``; ivf is trained on a sample of it."""
    width = table.shape[1]
    if kind == "flat":
        return faiss.IndexFlatIP(width)
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = EF_CONSTRUCTION, EF_SEARCH
        return graph
    lists = max(1, min(round(4 * len(table) ** 0.5), len(table) // ROWS_PER_LIST))
    store = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    store.cp.niter = KMEANS_ROUNDS
    store.nprobe = min(lists, max(LEAST_PROBED, round(lists * PROBED)))
    count = min(len(table), lists * ROWS_PER_LIST)
    sample = np.linspace(0, len(table) - 1, count).astype(
        np.int64
    )  # in order, as a memory map is read fastest
    store.train(_unit(table[sample], "features"))
    return store


@contextmanager
def _suited_to(queries: int) -> Iterator[None]:
    """Set faiss, whose settings are the process's or the thread's, to the number of queries, and put it back.

    faiss 1.15 compares several queries with all rows by blocks of a matrix product only from 128,000 numbers in the
    queries on, and below takes them one by one: 2 to 5 times as long for 100 queries of width 128. One query is
    answered by one thread in any case, but waiting for the others takes longer than to compare 10,000 rows.
    """
    if queries == 1:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            faiss.omp_set_num_threads(threads)
    elif queries < FEW_QUERIES:
        yield
    else:
        settings = _faiss("cvar")
        with _THRESHOLD:
            before = settings.distance_compute_blas_threshold
            settings.distance_compute_blas_threshold = 1
            try:
                yield
            finally:
                settings.distance_compute_blas_threshold = before


def _faiss(name: str) -> Any:
    """Return a class of faiss that its type stubs leave out or describe wrongly."""
    return getattr(faiss, name)


def _array(values: Rows, what: str) -> NDArray[np.floating] | RowsOnDisk:
    """Return (n, D) features as an array, without a copy where one is given."""
    array = values.detach().cpu().float().numpy() if isinstance(values, Tensor) else values
    if len(array.shape) != 2 or 0 in array.shape:
        raise DataError(f"{what} must be (rows, width) and not empty, got {tuple(array.shape)}")
    return array


def _chunks(table: NDArray[np.floating] | RowsOnDisk) -> Iterator[NDArray[np.float32]]:
    """Yield all rows in order as float32 of length one, some at a time."""
    for start in range(0, len(table), CHUNK):
        yield _unit(table[start : start + CHUNK], "features", first=start)


def _unit(rows: NDArray[np.floating], what: str, *, first: int = 0) -> NDArray[np.float32]:
    """Scale rows to length one, as the contiguous float32 array that faiss reads; ``first`` numbers the rows."""
    values = np.array(rows, dtype=np.float32, order="C")
    length = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
    wrong = np.flatnonzero(~np.isfinite(length))
    if len(wrong):
        raise DataError(
            f"{what}: {len(wrong)} rows hold NaN or infinity, first row {first + wrong[0]}; "
            "look at the encoder's weights and at that clip"
        )
    empty = np.flatnonzero(length == 0)
    if len(empty):
        raise DataError(
            f"{what}: {len(empty)} rows are all zeros, first row {first + empty[0]}; they have no direction to "
            "compare by. Look at the encoder's weights and at that clip, or leave them out"
        )
    values /= length[:, None].astype(np.float32)
    return values
