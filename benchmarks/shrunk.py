"""What shrinking saves in time: LeNet-300-100 dense, shrunk to 97-71-33, and with so many kept weights as sparse tensors.

    python benchmarks/shrunk.py             # a minute; writes benchmarks/results/shrunk.md
    python benchmarks/shrunk.py --quick     # fewer rounds, no file

Weights are random: time does not depend on their values. "shrunk" is what ``ppl.shrink`` makes of a network whose other rows and columns
are 0 (r_W = 3.59 %, the widths of Dai, Zhu and Wipf, 2018, table 1); "CSR" has the same widths as the dense one, each weight matrix as a
sparse tensor in compressed rows with that part of its entries at random places, as pruning of single weights leaves them, and in JAX
"BCOO". One thread, float32, medians over rounds in which the networks take turns (``scalemix.compress.latency``).
"""

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):  # read by the libraries when first imported
    os.environ[_threads] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import platform
import sys
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import torch

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix.compress import Affine, Elementwise, Layer, latency, removed

RESULTS = Path(__file__).parent / "results" / "shrunk.md"
WIDTHS, KEPT = (784, 300, 100, 10), (97, 71, 33, 10)
FRACTIONS = (0.01, 0.02, 0.05)
BATCHES = (1, 128)
TARGET = 3.0  # times faster at the larger batch
RNG = np.random.default_rng(0)


def dense(mask: Callable[[int, tuple[int, int]], np.ndarray]) -> list[Layer]:
    found: list[Layer] = []
    for index, pair in enumerate(pairwise(WIDTHS)):
        weight = RNG.normal(size=pair) * np.sqrt(2 / pair[0]) * mask(index, pair)
        found += [Affine(f"w{index}", weight.astype(np.float32), RNG.normal(size=pair[1]).astype(np.float32)), Elementwise("relu")]
    return found[:-1]


def blocks(index: int, shape: tuple[int, int]) -> np.ndarray:
    """1 for the first so many inputs and units."""
    return (np.arange(shape[0])[:, None] < KEPT[index]) & (np.arange(shape[1]) < KEPT[index + 1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="20 rounds, no file")
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    rounds = 20 if options.quick else options.rounds
    torch.set_num_threads(1)
    whole = dense(lambda index, shape: np.ones(shape))
    masked = dense(blocks)
    smaller, inputs = removed(masked)
    singles = {part: dense(lambda index, shape, part=part: RNG.random(shape) < part) for part in FRACTIONS}
    x = RNG.normal(size=(max(BATCHES), WIDTHS[0])).astype(np.float32)
    kitchens = {"torch": (in_pyro.shrinking.build, "CSR", torch.as_tensor(x)), "JAX": (in_numpyro.shrinking.build, "BCOO", jnp.asarray(x))}
    machine = f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, float32."
    lines = [f"# Latency of a shrunk network\n\n{machine}\n", "| network | batch | µs | times as fast as dense |\n|---|---|---|---|"]
    met, verdicts = True, []
    for name, (build, kind, rows) in kitchens.items():
        every = {"dense": build(whole, None), "shrunk": build(smaller, inputs)}
        every |= {f"{kind}, {part:.0%} kept": build(layers, None, 2.0 * part) for part, layers in singles.items()}
        with torch.inference_mode():
            seconds = latency(every, rows, batches=BATCHES, num_rounds=rounds)
        for batch in BATCHES:
            for each in every:
                ratio = seconds["dense"][batch] / seconds[each][batch]
                lines.append(f"| {name}, {each} | {batch} | {seconds[each][batch] * 1e6:.0f} | {ratio:.2f} |")
        ratio = seconds["dense"][BATCHES[-1]] / seconds["shrunk"][BATCHES[-1]]
        met &= ratio >= TARGET
        verdicts.append(
            f"{name}, shrunk at batch {BATCHES[-1]}: {ratio:.2f} times as fast, target {TARGET}: {'met' if ratio >= TARGET else 'missed'}"
        )
    lines += ["", *verdicts]
    print("\n".join(lines))
    if not options.quick:
        RESULTS.write_text("\n".join(lines).rstrip() + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
