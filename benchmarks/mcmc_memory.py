"""Peak memory at 1, 4 and 16 times the draws, in memory and with a folder.

HMC (4 steps, 4 chains one after the other) on linear regression with 150 weights and 200 rows, 5 kB to a draw. Each run has a process of
its own, whose peak is counted anew after a run of one segment; it is the system's figure and includes pages of mapped files. Linux alone
lets a process count its peak anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from mcmc_tables import Section, table

NUM_WEIGHTS, NUM_ROWS, SEGMENT = 150, 200, 250
TIMES = (1, 4, 16)
DRAWS = 500
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


def measure(quick: bool) -> Section:
    draws = DRAWS // 20 if quick else DRAWS
    rows, peaks = [], {}
    for in_folder in (False, True):
        for times in TIMES:
            found = _in_a_process(draws * times, in_folder)
            peaks[in_folder, times] = found["after"]
            where, extra = "folder" if in_folder else "memory", found["after"] - found["before"]
            rows.append([f"{times}×", where, f"{found['draws']:.0f}", f"{found['after']:.0f}", f"{extra:.0f}"])
    ratio = {in_folder: peaks[in_folder, TIMES[-1]] / peaks[in_folder, 1] for in_folder in (False, True)}
    head = ["draws", "where they go", "size of the draws", "peak", "peak beyond what one segment left"]
    return Section(
        f"MB, {draws} draws in each of 4 chains and multiples of that.\n\n{table(head, rows)}\n\n"
        f"{TIMES[-1]}× against 1×: {ratio[True]:.2f} with a folder (at most {FLAT}), {ratio[False]:.2f} in memory.",
        ratio[True] <= FLAT,
    )


def _in_a_process(num_draws: int, in_folder: bool) -> dict[str, float]:
    command = [sys.executable, __file__, str(num_draws), "folder" if in_folder else "memory"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _status(field: str) -> float:
    """Megabytes in a line of the process's own status."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(peak_of(int(sys.argv[1]), sys.argv[2] == "folder")))
