"""Rows of a benchmark as processes that take turns: each answers with the seconds of a round."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from svi_peers import PEERS, peer
from svi_rows import NETS, NOISE_SD, RATE, Net, engine, make_data

__all__ = ["PEER_PYTHON", "Worker", "compare", "work"]

PEER_PYTHON = Path(__file__).parents[1] / "build" / "peers" / "bin" / "python"


def work(name: str, net: Net, clock: Callable[[], float], by_hand: Mapping, engines: Mapping) -> None:
    """Answer each line of standard input with the seconds of a round; the last answer is the peak of memory."""
    started = [clock()]

    def turn() -> None:
        print(json.dumps({"answer": clock() - started[0]}), flush=True)
        if not sys.stdin.readline().strip():
            print(json.dumps({"answer": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
            os._exit(0)
        started[0] = clock()

    if name in engines:
        language, options = engines[name]
        engine(net, turn, language, **options)
    steps = by_hand[name](net) if name in by_hand else peer(name, net.sizes, make_data(net), net.batch, net.steps, RATE, NOISE_SD)
    while True:
        steps()
        turn()


class Worker:
    """A row's process, of the program ``script``."""

    def __init__(self, script: str, name: str, net: str, wall: bool) -> None:
        python = str(PEER_PYTHON) if name in PEERS else sys.executable
        command = [python, script, "--row", name, "--net", net, *(["--wall"] if wall else [])]
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


def compare(
    script: str, title: str, rounds: int, wall: bool, names: list[str], targets: Sequence[tuple[str, str, float]]
) -> tuple[list[str], bool]:
    """Lines of a table, and whether every target, of a row over another, was met."""
    net = NETS[title]
    workers = {name: Worker(script, name, title, wall) for name in names}
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
    for name, other, target in targets:
        if name not in median or other not in median:
            continue
        ratio = median[name] / median[other]
        met &= ratio <= target
        lines.append(f"\n{name} over {other}: {ratio:.2f}, target {target:.2f}: {'met' if ratio <= target else 'missed'}.")
    return lines, met
