"""Chain methods: four chains one after the other, side by side in one program, and shared out to two devices of one thread each.

The draws are the same, so the seconds are compared; compilation is apart.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".strip()

from functools import partial
from typing import Any

import numpy as np
from mcmc_tables import Section, compiled_once, said_so, sampling, spread, table

import scalemix as sm
import scalemix.numpyro as ppl
from scalemix import noise
from scalemix.data import diabetes
from scalemix.inference import nuts
from scalemix.models import linear, mlp
from scalemix.numpyro.compiling import prefer_fast_compilation

prefer_fast_compilation()

TARGET = 0.9  # what "auto" takes is at least so many times as fast as the fastest
METHODS = ("sequential", "vectorized", "parallel")
WIDTH = 50


def models() -> dict[str, tuple[Any, int]]:
    """Each with its largest tree depth."""
    rayleigh = sm.ScaleMixture(noise.Rayleigh().per("in"))
    return {
        "regression, 10 weights, Laplace": (partial(linear, prior=sm.Laplace(0.5)), 10),
        f"net 10-{WIDTH}-1, Rayleigh": (partial(mlp, prior=rayleigh, widths=(WIDTH,)), 6),
    }


def measure(quick: bool) -> Section:
    data, seeds = diabetes(num_noise=0), 1 if quick else 3
    x, y = np.asarray(data.x_train), np.asarray(data.y_train)
    count = {10: (50, 50) if quick else (500, 1000), 6: (20, 20) if quick else (50, 50)}
    auto, why = ppl.engine.chain_method("auto", 4)
    rows, holds = [], True
    with compiled_once():
        for name, (model, depth) in models().items():
            seconds: dict[str, list[float]] = {method: [] for method in METHODS}
            compiling: dict[str, float] = dict.fromkeys(METHODS, 0.0)
            warmup, draws = count[depth]
            for seed in range(seeds):
                for method in METHODS:
                    settings = nuts.Settings(num_warmup=warmup, num_draws=draws, max_tree_depth=depth, chain_method=method, progress=False)
                    with ppl.engine.precision("float64", "cpu"):
                        pieces = list(sampling(model, (x, y), seed, settings))
                    seconds[method].append(sum(piece.seconds_run for piece in pieces))
                    compiling[method] = max(compiling[method], sum(piece.seconds_compile for piece in pieces))
            said_so(name)
            base = np.array(seconds["sequential"])
            fastest = min(float(np.median(each)) for each in seconds.values())
            for method in METHODS:
                mine = float(np.median(seconds[method]))
                verdict = ("yes" if fastest >= TARGET * mine else "NO") if method == auto else ""
                holds &= verdict != "NO"
                speed = base / np.array(seconds[method])
                rows.append([name, method, spread(seconds[method]), spread(list(speed)), f"{compiling[method]:.1f}", verdict])
    head = ["model", "chains", "seconds", "times as fast as sequential", "compilation, s", "auto's, and the fastest"]
    said = f'"auto" takes {auto} here: {why}. {seeds} seeds, 4 chains; {count[10]} and {count[6]} iterations (warm-up, draws).\n\n'
    return Section(said + table(head, rows), holds)
