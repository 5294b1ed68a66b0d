"""What a training step of a lifted network costs: against the same arithmetic in a loop written by hand, and against three peers.

    python benchmarks/training.py             # some minutes; writes benchmarks/results/training.md
    python benchmarks/training.py --quick     # fewer rounds, no file

LeNet-300-100 as an ``nn.Sequential``, or of Equinox, at batch 128, lifted by ``ppl.lift`` and trained by what ``vbd`` trains; the rows by
hand, the peers and their environment, the turns and the clock are those of ``svi.py``. Lifted torch layers draw rows of pre-activations
(local reparametrization). Lifted pytrees draw weights, whatever the network does with them, and "JAX, by hand, weights" does that too.
"""

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):  # read by the libraries when first imported
    os.environ[_threads] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import platform
import sys
import time
from datetime import date
from functools import partial
from pathlib import Path

from svi_peers import PEERS
from svi_rows import BY_HAND, NETS, jax_by_hand, torch_by_hand
from turns import PEER_PYTHON, compare, work

RESULTS = Path(__file__).parent / "results" / "training.md"
NET = "LeNet-300-100, batch 128"
HAND = BY_HAND | {
    "torch, by hand, compiled": partial(torch_by_hand, compiled=True),
    "JAX, by hand, weights": partial(jax_by_hand, draw="weights"),
}
LIFTED = {
    "torch, lifted, eager": ("pyro", {"compile": False, "whole": True, "lift": True}),
    "torch, lifted": ("pyro", {"whole": True, "lift": True}),
    "JAX, lifted": ("numpyro", {"whole": True, "lift": True}),
}
TARGETS = [
    ("torch, lifted", "torch, by hand", 1.05),
    ("JAX, lifted", "JAX, by hand, weights", 1.05),
    *(("torch, lifted", peer, 1.0) for peer in PEERS),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds, no file")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", help="only those of a language, without a file: torch (and the peers) or JAX", choices=["torch", "JAX"])
    parser.add_argument("--wall", action="store_true", help="time by the clock")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--net", help=argparse.SUPPRESS, choices=[NET], default=NET)
    options = parser.parse_args()
    if options.row:
        work(options.row, NETS[options.net], time.perf_counter if options.wall else time.process_time, HAND, LIFTED)
    peers = PEERS if PEER_PYTHON.exists() else ()
    names = [*HAND, *LIFTED, *peers]
    if options.only:
        names = [name for name in names if name.startswith("JAX") == (options.only == "JAX")]
    lines, met = compare(__file__, NET, 3 if options.quick else options.rounds, options.wall, names, TARGETS)
    lines.insert(
        0,
        f"# A training step of a lifted network\n\n{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        "one thread, float32.",
    )
    print("\n".join(lines))
    if not peers:
        print(f"\nThe peers are left out: {PEER_PYTHON} is not there (see the first lines of svi.py).")
    if not (options.quick or options.only):
        RESULTS.write_text("\n".join(lines) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
