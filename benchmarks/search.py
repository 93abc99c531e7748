"""Nearest clips among 10^4, 10^5 and 10^6: build time, answer time and recall of each kind of index.

python benchmarks/search.py [--rows 10000 100000 1000000] [--kinds flat ivf hnsw] [--threads 1]

The features are synthetic: clusters of 100 rows of width 128 around random centres, which lie around fewer, broader
centres. Queries are new rows of the same clusters. Recall@10 is the share of the ten nearest rows, found by comparing
with all of them in torch, that the index finds.
"""

import argparse
import os
import time
from collections.abc import Callable

import faiss
import numpy as np
import torch

from jepa.probes.index import build_index

QUERIES, K = 500, 10


def clustered(rows: int, width: int = 128, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and queries, float16."""
    draw = np.random.default_rng(seed)
    broad = draw.standard_normal((64, width), np.float32)
    count = max(1, rows // 100)
    centres = broad[draw.integers(0, 64, count)] + 0.7 * draw.standard_normal((count, width), np.float32)

    def sample(number: int) -> np.ndarray:
        member = draw.integers(0, count, number)
        return (centres[member] + 0.8 * draw.standard_normal((number, width), np.float32)).astype(np.float16)

    return sample(rows), sample(QUERIES)


def brute_force(rows: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Return the rows that are nearest by comparing with all of them: (n, D), (m, D) of length one -> (m, K)."""
    return (queries @ rows.T).topk(K, dim=1).indices


def per_call_ms(answer: Callable[[np.ndarray], object], queries: np.ndarray, batch: int, calls: int) -> float:
    """Return the median milliseconds of one call with ``batch`` queries, after a first one that is not counted."""
    times = []
    for call in range(calls + 1):
        first = call * batch % (len(queries) - batch + 1)
        start = time.perf_counter()
        answer(queries[first : first + batch])
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times[1:])[calls // 2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["flat", "ivf", "hnsw"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    print(f"{options.threads} thread(s), load {os.getloadavg()[0]:.1f}", flush=True)
    print(
        f"{'rows':>8} {'index':>6} {'build s':>8} {'1 query ms':>11} {'100 ms':>8} {'recall@10':>10}",
        flush=True,
    )
    for count in options.rows:
        rows, queries = clustered(count)
        unit = torch.nn.functional.normalize(torch.from_numpy(rows).float(), dim=1)
        asked = torch.nn.functional.normalize(torch.from_numpy(queries).float(), dim=1)
        truth = torch.cat([brute_force(unit, part) for part in asked.split(100)])

        def torch_answer(part: np.ndarray, rows: torch.Tensor = unit) -> torch.Tensor:
            return brute_force(rows, torch.from_numpy(part))

        single, batch = (
            per_call_ms(torch_answer, asked.numpy(), size, calls) for size, calls in ((1, 20), (100, 4))
        )
        print(f"{count:8d} {'torch':>6} {'':>8} {single:11.2f} {batch:8.1f} {1:10.3f}", flush=True)
        del unit
        for kind in options.kinds:
            start = time.perf_counter()
            index = build_index(rows, kind=kind)
            built = time.perf_counter() - start
            found = index.search(queries, K)[1]
            recall = (found[:, :, None] == truth[:, None]).any(dim=2).double().mean()
            single, batch = (
                per_call_ms(lambda part, index=index: index.search(part, K), queries, size, calls)
                for size, calls in ((1, 100), (100, 4))
            )
            print(f"{count:8d} {kind:>6} {built:8.1f} {single:11.2f} {batch:8.1f} {recall:10.3f}", flush=True)


if __name__ == "__main__":
    main()
