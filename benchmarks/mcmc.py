"""Sampling by MCMC in NumPyro on the CPU, section by section, each in a process of its own.

    python benchmarks/mcmc.py                  # all of them, some fifteen minutes; each writes its part of benchmarks/results/mcmc.md
    python benchmarks/mcmc.py hand             # NUTS against the same models by hand, ESS per second
    python benchmarks/mcmc.py chains           # chains in sequence, vectorized, parallel
    python benchmarks/mcmc.py coordinates      # the picker of coordinates against always the same form, ESS per gradient
    python benchmarks/mcmc.py memory           # peak memory at 1, 4 and 16 times the draws
    python benchmarks/mcmc.py hand --quick     # a fraction of the draws and seeds; no file

Exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from mcmc_tables import machine

os.environ.setdefault("JAX_PLATFORMS", "cpu")
LEGEND = "A cell such as 1.02 (0.98-1.05) is a median with its quartiles, over seeds."
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
        load = f"load {os.getloadavg()[0]:.1f} with this program at the end"
        command = f"`python benchmarks/mcmc.py {options.section}{' --quick' * options.quick}`"
        text = f"{found.text}\n\n{command}, {date.today()}, {time.perf_counter() - start:.0f} s, {load}; {machine()}.\n"
        print(f"## {SECTIONS[options.section]}\n\n{text}", flush=True)
        if not options.quick:
            write(SECTIONS[options.section], text)
        return 0 if found.holds else 1
    command = [sys.executable, __file__]
    return max(subprocess.run([*command, section, *["--quick"] * options.quick], check=False).returncode for section in SECTIONS)


def write(title: str, text: str) -> None:
    """Puts a section in the place of its last run."""
    old = RESULTS.read_text().split("\n## ")[1:] if RESULTS.is_file() else []
    parts = dict(part.split("\n\n", 1) for part in old) | {title: text}
    ordered = [f"## {each}\n\n{parts[each].rstrip()}\n" for each in SECTIONS.values() if each in parts]
    RESULTS.write_text("\n".join([f"# Sampling by MCMC\n\n{LEGEND}\n", *ordered]))


if __name__ == "__main__":
    sys.exit(main())
