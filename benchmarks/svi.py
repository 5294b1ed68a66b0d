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
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from svi_peers import PEERS, peer
from svi_rows import BY_HAND, ENGINES, NETS, NOISE_SD, RATE, Net, engine, make_data

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "svi.md"
PEER_PYTHON = ROOT / "build" / "peers" / "bin" / "python"
TARGETS = {"torch, vbd, compiled": ("torch, by hand", 1.0), "JAX, vbd": ("JAX, by hand", 1.05)}


# --- a row's process, and the one that asks them in turn


def work(name: str, net: Net, clock: Callable[[], float]) -> None:
    """Answer each line of standard input with the seconds of a round; the last answer is the peak of memory."""
    started = [clock()]

    def turn() -> None:
        print(json.dumps({"answer": clock() - started[0]}), flush=True)
        if not sys.stdin.readline().strip():
            print(json.dumps({"answer": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
            os._exit(0)
        started[0] = clock()

    if name in ENGINES:
        language, options = ENGINES[name]
        engine(net, turn, language, **options)
    steps = BY_HAND[name](net) if name in BY_HAND else peer(name, net.sizes, make_data(net), net.batch, net.steps, RATE, NOISE_SD)
    while True:
        steps()
        turn()


class Worker:
    """A row's process."""

    def __init__(self, name: str, net: str, wall: bool) -> None:
        python = str(PEER_PYTHON) if name in PEERS else sys.executable
        command = [python, __file__, "--row", name, "--net", net, *(["--wall"] if wall else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()  # the first round compiles
        self.ask("again")

    def ask(self, line: str) -> float:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> float:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith('{"answer"'):
                return json.loads(line)["answer"]
        raise RuntimeError(f"a row ended with exit code {self.process.wait()}")


def compare(title: str, rounds: int, wall: bool, names: list[str]) -> tuple[list[str], bool]:
    """Lines of a table, and whether every target was met."""
    net = NETS[title]
    workers = {name: Worker(name, title, wall) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else names[::-1]:
            times[name].append(workers[name].ask("go") / net.steps * 1e3)
    peaks = {name: workers[name].ask("") for name in names}
    median = {name: float(np.median(values)) for name, values in times.items()}
    lines = [f"\n## {title}\n", "| row | ms a step | over by hand (quartiles) | over plain dropout | peak MiB |", "|---|---|---|---|---|"]
    met = True
    for name in names:
        family = "JAX" if name.startswith("JAX") else "torch"
        hand, plain = f"{family}, by hand", f"{family}, plain dropout"
        low, high = np.quantile(np.array(times[name]) / np.array(times[hand]), [0.25, 0.75])
        lines.append(
            f"| {name} | {median[name]:.3g} | {median[name] / median[hand]:.2f} ({low:.2f}–{high:.2f}) "
            f"| {median[name] / median[plain]:.2f} | {peaks[name]:.0f} |"
        )
    for name, (hand, target) in TARGETS.items():
        ratio = median[name] / median[hand]
        met &= ratio <= target
        lines.append(f"\n{name} over {hand}: {ratio:.2f}, target {target:.2f}: {'met' if ratio <= target else 'missed'}.")
    return lines, met


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
        work(options.row, NETS[options.net], clock)
    names = [*BY_HAND, *ENGINES, *(PEERS if PEER_PYTHON.exists() else ())]
    lines = [
        f"# A training step\n\n{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, float32."
    ]
    met = True
    for title in [options.net] if options.net else NETS:
        found, good = compare(title, 3 if options.quick else options.rounds, options.wall, names)
        print("\n".join(found))
        lines, met = lines + found, met and good
    if not PEER_PYTHON.exists():
        print(f"\nThe peers are left out: {PEER_PYTHON} is not there (see the first lines of this file).")
    if not options.quick:
        RESULTS.write_text("\n".join(lines) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
