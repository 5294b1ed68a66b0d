"""A GPU against two CPU cores: 64 chains of NUTS, and a training run.

    python benchmarks/gpu.py                  # some minutes on a machine with a GPU; writes results/gpu.md
    python benchmarks/gpu.py --device cpu     # the CPU's half alone, no file
    python benchmarks/gpu.py --device cpu --quick

**chains**: NUTS in NumPyro on regression with 10 weights (353 rows) and on a net with 50 hidden units, 64 chains, 50 + 50 iterations of at
most 2^6 steps: on the GPU vectorized, on the CPU vectorized and shared out to two devices of one core. **training**: SVI with a normal for
each weight (float32) of a net with 2 × 512 hidden units on 8192 × 64 numbers, in both languages. Seconds, compilation apart.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".strip()

import argparse
import platform
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mcmc_tables import said_so, table

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise
from scalemix.data import diabetes
from scalemix.inference import nuts, svi
from scalemix.models import linear, mlp

RESULTS = Path(__file__).parent / "results" / "gpu.md"
LANGUAGES = {"NumPyro": in_numpyro, "Pyro": in_pyro}
RAYLEIGH = sm.ScaleMixture(noise.Rayleigh().per("in"))
CORES = 2


def chains(device: str, quick: bool) -> dict[str, tuple[float, float]]:
    """Seconds of running and of compiling, by what ran."""
    data, found = diabetes(num_noise=0), {}
    models = {"regression, 10 weights": partial(linear, prior=sm.Laplace(0.5)), "net 10-50-1": partial(mlp, prior=RAYLEIGH)}
    size = 5 if quick else 50
    for name, model in models.items():
        for method in ("vectorized",) if device == "gpu" else ("vectorized", "parallel"):
            settings = nuts.Settings(
                num_warmup=size,
                num_draws=size,
                num_chains=8 if quick else 64,
                max_tree_depth=3 if quick else 6,
                chain_method=method,
                device=device,
                progress=False,
            )
            info = nuts.fit(in_numpyro, model, data.x_train, data.y_train, seed=0, settings=settings).info
            found[f"{settings.num_chains} chains, {name}"] = min(
                found.get(f"{settings.num_chains} chains, {name}", (np.inf, 0.0)), (info.seconds_run, info.seconds_compile)
            )
            said_so(f"{name} {method} on the {device}")
    return found


def training(device: str, quick: bool) -> dict[str, tuple[float, float]]:
    rows, width = (512, 32) if quick else (8192, 512)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 64))
    y = np.tanh(x[:, 0]) + 0.1 * rng.standard_normal(rows)
    model: Any = partial(mlp, prior=RAYLEIGH, widths=(width, width), activation="relu")
    found = {}
    for language, ppl in LANGUAGES.items():
        steps = 10 if quick else 200
        settings = svi.Settings(num_steps=steps, num_draws=2, dtype="float32", device=device, progress=False)
        info = svi.fit(ppl, model, x, y, guide=ppl.autoguide.AutoNormal, seed=0, settings=settings).info
        found[f"{steps} SVI steps, net 64-{width}-{width}-1, {language}"] = info.seconds_run, info.seconds_compile
        said_so(f"{language}'s training on the {device}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu", help="cpu: the CPU's half alone")
    parser.add_argument("--quick", action="store_true", help="a few iterations of a small net, no file")
    options = parser.parse_args()
    without = [language for language, ppl in LANGUAGES.items() if not ppl.engine.has_gpu()]
    if options.device == "gpu" and without:
        print(f"No GPU is here for {' and '.join(without)}: run on a machine that has one, or give --device cpu for the CPU's half.")
        return 2
    torch.set_num_threads(CORES)
    devices = ["gpu", "cpu"] if options.device == "gpu" else ["cpu"]
    found = {device: chains(device, options.quick) | training(device, options.quick) for device in devices}
    rows = []
    for what, (seconds, compiling) in found["cpu"].items():
        row = [what, f"{seconds:.2f} ({compiling:.1f})"]
        if "gpu" in found:
            here, there = found["gpu"][what]
            row += [f"{here:.2f} ({there:.1f})", f"{seconds / here:.2g}"]
        rows.append(row)
    head = ["what", f"{CORES} CPU cores, s (compilation)", "GPU, s (compilation)", "CPU / GPU"]
    print(text := table(head[: len(rows[0])], rows))
    if "gpu" in found and not options.quick:
        card = torch.cuda.get_device_name()
        RESULTS.write_text(f"# GPU against CPU\n\n`python benchmarks/gpu.py`, {date.today()}; {card}, {platform.machine()}.\n\n{text}\n")
    if "gpu" not in found:
        print("\nThe CPU's half alone: no GPU was used.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
