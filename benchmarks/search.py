"""Nearest clips among 10^4, 10^5 and 10^6: our index and k-NN probe beside comparing with all rows in torch.

Run it as ``python -m benchmarks.search``. The features are synthetic and float16: clusters of 100 rows of width 128
around random centres, which lie around fewer, broader centres. Queries are new rows of the same clusters. Plain is a
matrix product with blocks of 16,384 rows, topk of each, and topk of what was found (faster than one large product).
Similarities are compared with it before anything is timed. The floor of an exact search is the larger of its counted
multiplications at the speed of a large product, and of one pass over the rows at the speed at which memory is read.
Recall@10 is the share of the ten nearest rows that an index finds. hnsw takes a quarter of an hour for 10^6 rows, so it
is left out above ``--hnsw-up-to``.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.pairs import (
    Ratio,
    interleave,
    options,
    print_header,
    print_table,
    ratio,
    say,
    speed_of_products,
    timed,
)
from jepa.probes.index import Index, Kind, build_index
from jepa.probes.knn import TEMPERATURE, KnnProbe

WIDTH, K, CLASSES, BLOCK = 128, 10, 100, 16_384
QUERIES = (1, 100, 1000)
NEIGHBOURS = 20  # of the probe


@dataclass(frozen=True, slots=True)
class Data:
    """Rows to search and queries, (n, D) and (m, D) float16, with a class for each."""

    rows: NDArray[np.float16]
    row_classes: Tensor
    queries: NDArray[np.float16]
    query_classes: Tensor

    @classmethod
    def clustered(cls, rows: int, seed: int = 0) -> "Data":
        """Draw clusters of a hundred rows."""
        draw = np.random.default_rng(seed)
        broad = draw.standard_normal((64, WIDTH), np.float32)
        count = max(1, rows // 100)
        centres = broad[draw.integers(0, 64, count)]
        centres += 0.7 * draw.standard_normal((count, WIDTH), np.float32)

        def sample(number: int) -> tuple[NDArray[np.float16], Tensor]:
            member = draw.integers(0, count, number)
            found = centres[member] + 0.8 * draw.standard_normal((number, WIDTH), np.float32)
            return found.astype(np.float16), torch.from_numpy(member % CLASSES)

        return cls(*sample(rows), *sample(max(QUERIES)))


def unit(rows: NDArray[np.float16]) -> Tensor:
    """Scale rows to length one, float32."""
    return F.normalize(torch.from_numpy(rows).float(), dim=1)


def plain_search(rows: Tensor, queries: NDArray[np.float16], k: int) -> tuple[Tensor, Tensor]:
    """Compare with all rows of length one: (n, D), (m, D) -> similarities and rows, (m, k) each."""
    asked = unit(queries)
    values, numbers = [], []
    for first in range(0, len(rows), BLOCK):
        some = rows[first : first + BLOCK]
        found = (asked @ some.T).topk(min(k, len(some)), dim=1)
        values.append(found.values)
        numbers.append(found.indices + first)
    best = torch.cat(values, dim=1).topk(k, dim=1)
    return best.values, torch.cat(numbers, dim=1).gather(1, best.indices)


def plain_votes(rows: Tensor, classes: Tensor, queries: NDArray[np.float16]) -> Tensor:
    """Answer by the nearest rows, each with weight exp(similarity / temperature): (m, C)."""
    similarity, found = plain_search(rows, queries, NEIGHBOURS)
    weights = (similarity / TEMPERATURE).softmax(dim=1)
    return (F.one_hot(classes[found], CLASSES) * weights[..., None]).sum(dim=1)


def check_equal(index: Index, rows: Tensor, queries: NDArray[np.float16]) -> None:
    """Stop unless an exact index finds what plain code finds; of rows that are equally near it may name another."""
    ours, found = index.search(queries, K)
    plain, truth = plain_search(rows, queries, K)
    again = (rows[found] * unit(queries)[:, None]).sum(dim=2)
    for other in (plain, again):
        assert (ours - other).abs().max() < 1e-5, (ours - other).abs().max()
    differ = found != truth
    assert not (differ & ((ours - plain).abs() > 1e-6)).any()
    say(
        f"{len(rows):,} rows: largest difference {(ours - plain).abs().max():.0e}, "
        f"{int(differ.sum())} of {K * len(ours)} rows in another order\n"
    )


def recall(index: Index, queries: NDArray[np.float16], truth: Tensor) -> float:
    """Return the share of the true neighbours (m, K) that the index finds."""
    found = index.search(queries, K)[1]
    return float((found[:, :, None] == truth[:, None]).any(dim=2).double().mean())


def bytes_per_second() -> float:
    """Return how fast memory is read, by the sum of a large vector, the best of five."""
    large = torch.ones(2**27)
    return large.nbytes / min(timed(large.sum)[0] for _ in range(5))


def exact_rows(
    index: Index, rows: Tensor, data: Data, rounds: int, speeds: tuple[float, float]
) -> list[list[object]]:
    """Time exact searches with several numbers of queries; returns rows of the table."""
    found = []
    for count in QUERIES:
        queries = data.queries[:count]
        repeat = max(
            1, round(5e7 / (len(rows) * count))
        )  # calls per timing, so that it takes some milliseconds
        times = interleave(
            {
                "plain": lambda queries=queries, repeat=repeat: [
                    plain_search(rows, queries, K) for _ in range(repeat)
                ],
                "ours": lambda queries=queries, repeat=repeat: [
                    index.search(queries, K) for _ in range(repeat)
                ],
            },
            rounds=rounds,
        )
        floor = max(2 * rows.numel() * count / speeds[0], rows.nbytes / speeds[1])
        cells = [f"{1000 * times[name].seconds / repeat:,.2f}" for name in ("plain", "ours")]
        found.append(
            [
                f"{len(rows):,}",
                f"{count:,}",
                *cells,
                ratio(times["plain"], times["ours"]),
                f"{1000 * floor:,.2f}",
            ]
        )
    return found


def probe_rows(rows: Tensor, data: Data, rounds: int) -> list[list[object]]:
    """Time the k-NN probe, its fit and a thousand answers, beside plain voting; returns rows of the table."""
    features = torch.from_numpy(data.rows)
    probe = KnnProbe(k=NEIGHBOURS).fit(features, data.row_classes)
    assert probe.classes == tuple(range(CLASSES))
    votes = plain_votes(rows, data.row_classes, data.queries)
    difference = (probe.predict_proba(data.queries) - votes).abs().max()
    assert difference < 1e-4, difference  # of similarities, divided by the temperature
    runs = {
        "fit": (lambda: unit(data.rows), lambda: KnnProbe(k=NEIGHBOURS).fit(features, data.row_classes)),
        "1,000 answers": (
            lambda: plain_votes(rows, data.row_classes, data.queries),
            lambda: probe.predict_proba(data.queries),
        ),
    }
    if len(rows) <= 10_000:

        def plain_training() -> Tensor:
            similarity, found = plain_search(rows, data.rows, NEIGHBOURS + 1)
            weights = (similarity[:, 1:] / TEMPERATURE).softmax(dim=1)
            votes = torch.zeros(len(rows), CLASSES).scatter_add_(1, data.row_classes[found[:, 1:]], weights)
            return (votes.argmax(dim=1) == data.row_classes).double().mean()

        score = KnnProbe(k=NEIGHBOURS).score_training(features.float(), data.row_classes)
        assert abs(score - float(plain_training())) < 1e-3
        runs["all rows answer each other"] = (
            plain_training,
            lambda: KnnProbe(k=NEIGHBOURS).score_training(features.float(), data.row_classes),
        )
    found: list[list[object]] = []
    for name, (plain, ours) in runs.items():
        times = interleave({"plain": plain, "ours": ours}, rounds=rounds)
        cells = [f"{times[way].seconds:.3f}" for way in ("plain", "ours")]
        found.append([f"{len(rows):,}", name, *cells, ratio(times["plain"], times["ours"])])
    return found


def index_row(kind: Kind, rows: Tensor, data: Data, truth: Tensor, rounds: int) -> list[object]:
    """Build an index that misses some rows, and time it beside plain code; returns a row of the table."""
    start = time.perf_counter()
    index = build_index(data.rows, kind=kind)
    cells: list[object] = [f"{len(rows):,}", kind, f"{time.perf_counter() - start:.1f}"]
    for count in QUERIES[:2]:
        queries = data.queries[:count]
        repeat = max(1, 200 // count)
        times = interleave(
            {
                "plain": lambda queries=queries: plain_search(rows, queries, K),
                "ours": lambda queries=queries, repeat=repeat: [
                    index.search(queries, K) for _ in range(repeat)
                ],
            },
            rounds=rounds,
        )
        faster = Ratio.of([repeat * seconds for seconds in times["plain"].wall], times["ours"].wall)
        cells += [f"{1000 * times['ours'].seconds / repeat:.2f}", faster]
    return [*cells, f"{recall(index, data.queries, truth):.3f}"]


def main() -> None:
    """Check, time and print three tables."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="*", default=["ivf", "hnsw"], choices=["ivf", "hnsw"])
    parser.add_argument("--hnsw-up-to", type=int, default=100_000, metavar="ROWS")
    chosen = parser.parse_args()
    print_header(chosen, "faiss-cpu")
    faiss.omp_set_num_threads(chosen.threads)
    speeds = speed_of_products(), bytes_per_second()
    say(f"{speeds[0] / 1e9:.0f} GFLOP/s, {speeds[1] / 1e9:.1f} GB/s\n")
    exact: list[Sequence[object]] = []
    probes: list[Sequence[object]] = []
    others: list[Sequence[object]] = []
    for count in chosen.rows:
        data = Data.clustered(count)
        rows = unit(data.rows)
        flat = build_index(data.rows, kind="flat")
        check_equal(flat, rows, data.queries)
        exact += exact_rows(flat, rows, data, chosen.rounds, speeds)
        truth = flat.search(data.queries, K)[1]
        del flat
        probes += probe_rows(rows, data, chosen.rounds)
        kinds = [kind for kind in chosen.kinds if kind != "hnsw" or count <= chosen.hnsw_up_to]
        others += [index_row(kind, rows, data, truth, chosen.rounds) for kind in kinds]
    print_table(("rows", "queries", "plain, ms", "flat, ms", "plain / flat", "floor, ms"), exact)
    print_table(("rows", "k-NN probe", "plain, s", "ours, s", "plain / ours"), probes)
    titles = ("1 query, ms", "plain / it", f"{QUERIES[1]} queries, ms", "plain / it", "recall@10")
    print_table(("rows", "index", "build, s", *titles), others)


if __name__ == "__main__":
    main()
