"""What a training step costs: scalemix's engine against the same arithmetic in a loop written by hand, plain dropout, and three peers.

    python benchmarks/svi.py             # some minutes; writes benchmarks/results/svi.md
    python benchmarks/svi.py --quick     # fewer rounds, no file

The rows of the peers need an environment of their own, which is left out if it is not there:

    python -m venv build/peers
    build/peers/bin/pip install torch==2.13.0 bayesian-torch==0.5.0 blitz-bayesian-pytorch==0.2.8 torchbnn==1.2

LeNet-300-100 at batch 128, and a net with 50 hidden units on 1000 × 8 numbers at full batch; variational Bayesian dropout with local
reparametrization, KL = ½ Σ log(1 + θ²/σ²); Adam; float32, one thread. "engine" trains the arithmetic of the rows by hand, "vbd" is the
whole recipe with the model ``mlp`` and its guide. Each row is a process of its own (so that its peak of memory can be
told); they take turns, forth and back, and are timed by the processor time they use (--wall: by the clock). Compilation is left out.
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
from pathlib import Path

from svi_peers import PEERS
from svi_rows import BY_HAND, ENGINES, NETS
from turns import PEER_PYTHON, compare, work

RESULTS = Path(__file__).parent / "results" / "svi.md"
TARGETS = [("torch, vbd, compiled", "torch, by hand", 1.0), ("JAX, vbd", "JAX, by hand", 1.05)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds, no file")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--wall", action="store_true", help="time by the clock")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--net", help="one of them", choices=list(NETS))
    options = parser.parse_args()
    clock = time.perf_counter if options.wall else time.process_time
    if options.row:
        work(options.row, NETS[options.net], clock, BY_HAND, ENGINES)
    names = [*BY_HAND, *ENGINES, *(PEERS if PEER_PYTHON.exists() else ())]
    lines = [
        f"# A training step\n\n{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, float32."
    ]
    met = True
    for title in [options.net] if options.net else NETS:
        found, good = compare(__file__, title, 3 if options.quick else options.rounds, options.wall, names, TARGETS)
        print("\n".join(found))
        lines, met = lines + found, met and good
    if not PEER_PYTHON.exists():
        print(f"\nThe peers are left out: {PEER_PYTHON} is not there (see the first lines of this file).")
    if not options.quick:
        text = "\n".join(lines) + "\n"
        if options.net and RESULTS.is_file():  # the other net's section stays
            kept = [part for part in RESULTS.read_text().split("\n## ")[1:] if not part.startswith(options.net)]
            text += "".join(f"\n## {part}" for part in kept)
        RESULTS.write_text(text)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
