"""Sampling by MCMC in NumPyro on the CPU, section by section, each in a process of its own.

    python benchmarks/mcmc.py                  # all of them, about ten minutes; writes benchmarks/results/mcmc.md
    python benchmarks/mcmc.py hand             # NUTS against the same models by hand, ESS per second
    python benchmarks/mcmc.py chains           # chains in sequence, vectorized, parallel
    python benchmarks/mcmc.py coordinates      # the picker of coordinates against always the same form, ESS per gradient
    python benchmarks/mcmc.py memory           # peak memory at 1, 4 and 16 times the draws
    python benchmarks/mcmc.py hand --quick     # a fraction of the draws and seeds; no file

Exit code 1 if a target is missed. A cell such as 1.02 (0.98-1.05) is a median with its quartiles, over seeds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
RESULTS = Path(__file__).parent / "results" / "mcmc.md"
SECTIONS = {
    "hand": "Effective draws per second, against the same model by hand",
    "chains": "Chain methods",
    "coordinates": "The coordinate picker",
    "memory": "Peak memory",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=[*SECTIONS, "all"], nargs="?", default="all")
    parser.add_argument("--quick", action="store_true", help="a fraction of the draws and seeds; no file is written")
    options = parser.parse_args()
    if options.section != "all":
        start = time.perf_counter()
        found = importlib.import_module(f"mcmc_{options.section}").measure(options.quick)
        print(f"## {SECTIONS[options.section]}\n\n{found.text}\n")
        print(f"{time.perf_counter() - start:.0f} s, load {os.getloadavg()[0]:.1f} with this program at the end.\n", flush=True)
        return 0 if found.holds else 1
    command = [sys.executable, __file__]
    runs = []
    for section in SECTIONS:
        runs.append(subprocess.run([*command, section, *["--quick"] * options.quick], stdout=subprocess.PIPE, text=True, check=False))
        print(runs[-1].stdout, flush=True)
    if not options.quick:
        RESULTS.write_text(f"{heading()}\n\n{''.join(run.stdout for run in runs).rstrip()}\n")
    return max(run.returncode for run in runs)


def heading() -> str:
    processor = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine()
    )
    versions = ", ".join(f"{each} {version(each)}" for each in ("jax", "numpyro"))
    return (
        f"# Sampling by MCMC\n\n`python benchmarks/mcmc.py`, {date.today()}, {versions}; {processor}, {os.cpu_count()} cores.\n\n"
        "A cell such as 1.02 (0.98-1.05) is a median with its quartiles, over seeds."
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


if __name__ == "__main__":
    sys.exit(main())
