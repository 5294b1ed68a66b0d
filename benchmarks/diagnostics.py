"""R-hat and effective sample sizes of many scalars: ours, vectorized, against ArviZ's, which walks through them one at a time.

    python benchmarks/diagnostics.py

The numbers are the same (``tests/test_diagnostics.py`` holds them to 1e-9); this is why they are not ArviZ's calls.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import arviz
import numpy as np

from scalemix.comparison.chains import convergence

SHAPE = (4, 1000)
ROUNDS = 5


def main() -> int:
    print("| scalars | ours, s | ArviZ, s | ArviZ / ours |\n| --- | --- | --- | --- |")
    for count in (10, 100, 1000):
        draws = np.random.default_rng(0).standard_normal((*SHAPE, count))
        dataset = arviz.convert_to_dataset({"w": draws})
        times = np.array([[_seconds(convergence, draws), _seconds(_arviz, dataset)] for _ in range(ROUNDS)])
        ours, theirs = np.median(times, axis=0)
        print(f"| {count} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.1f} |", flush=True)
    return 0


def _arviz(dataset: Any) -> None:
    arviz.rhat(dataset)
    arviz.ess(dataset, method="bulk")
    arviz.ess(dataset, method="tail")


def _seconds(function: Callable[[Any], Any], data: Any) -> float:
    start = time.perf_counter()
    function(data)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
