"""Sampling by MCMC, section by section, in NumPyro on the CPU.

    python benchmarks/mcmc.py memory           # peak memory at 1, 4 and 16 times the draws
    python benchmarks/mcmc.py memory --quick   # a twentieth of the draws

**memory**: HMC (4 steps, 4 chains one after the other) on linear regression with 150 weights and 200 rows, 5 kB to a draw, once with all
draws in memory and once with a folder. Each run has a process of its own, whose peak is counted anew after a run of one segment; it is the
system's figure and includes pages of mapped files. Linux alone lets a process count its peak anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
NUM_WEIGHTS, NUM_ROWS, SEGMENT = 150, 200, 250
TIMES = (1, 4, 16)
DRAWS = 1000
FLAT = 1.10  # the target: with a folder the peak at 16 times the draws is at most so many times that at 1


def peak_of(num_draws: int, in_folder: bool) -> dict[str, float]:
    """Sample in this process; megabytes."""
    import numpy as np

    import scalemix as sm
    import scalemix.numpyro as ppl
    from scalemix.inference import hmc
    from scalemix.models import linear

    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM_ROWS, NUM_WEIGHTS))
    y = x[:, 0] + rng.normal(size=NUM_ROWS)
    model = partial(linear, prior=sm.Laplace(0.3))

    def sample(num_draws: int, folder: Path | None) -> sm.Posterior:
        settings = hmc.Settings(num_warmup=100, num_draws=num_draws, num_steps=4, chain_method="sequential", progress=False)
        return hmc.fit(ppl, model, x, y, seed=0, settings=settings, folder=folder, segment_draws=SEGMENT)

    with tempfile.TemporaryDirectory() as folder:
        sample(SEGMENT, Path(folder) / "first" if in_folder else None)
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
        posterior = sample(num_draws, Path(folder) / "run" if in_folder else None)
        arrays = [*posterior.draws.values(), *posterior.log_likelihood.values(), *posterior.sample_stats.values(), posterior.log_joint]
        return {"before": before, "after": _status("VmHWM"), "draws": sum(array.nbytes for array in arrays) / 1e6}


def memory(draws: int) -> bool:
    """Prints the table; whether the peak is flat."""
    print(f"Peak memory in MB, {draws} draws in each of 4 chains and multiples of that\n")
    print("| draws | where they go | size of the draws | peak | peak beyond what one segment left |\n|---|---|---|---|---|")
    peaks = {}
    for in_folder in (False, True):
        for times in TIMES:
            found = _in_a_process(draws * times, in_folder)
            peaks[in_folder, times] = found["after"]
            where = "folder" if in_folder else "memory"
            extra = found["after"] - found["before"]
            print(f"| {times}× | {where} | {found['draws']:.0f} | {found['after']:.0f} | {extra:.0f} |", flush=True)
    ratio = {in_folder: peaks[in_folder, TIMES[-1]] / peaks[in_folder, 1] for in_folder in (False, True)}
    print(f"\n{TIMES[-1]}× against 1×: {ratio[True]:.2f} with a folder (at most {FLAT}), {ratio[False]:.2f} in memory")
    return ratio[True] <= FLAT


def _in_a_process(num_draws: int, in_folder: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "child", "--draws", str(num_draws)] + ["--folder"] * in_folder
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _status(field: str) -> float:
    """Megabytes in a line of the process's own status."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=["memory", "child"], help="'child' is what a section runs in a process of its own")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--folder", action="store_true")
    options = parser.parse_args()
    if options.section == "child":
        print(json.dumps(peak_of(options.draws, options.folder)))
        return 0
    return 0 if memory(options.draws // 20 if options.quick else options.draws) else 1


if __name__ == "__main__":
    sys.exit(main())
