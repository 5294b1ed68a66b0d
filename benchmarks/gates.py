"""Point-spike gates: effective draws per second of the recipes on one regression, and their inclusion probabilities against the exact ones.

    python benchmarks/gates.py                # some minutes; writes results/gates.md
    python benchmarks/gates.py --rounds 1     # prints only

Twenty rows, eight columns, point spike, noise known (rows I15 and I16 of the known answers). All recipes run in one process one after the
other, in rounds with different seeds; medians. Seconds are those of the run, compilation apart. ESS is the least over the gates that
ever move, bulk, of four chains that start closed, open and from the prior.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

import arviz
import numpy as np
from mcmc_tables import machine, spread, table

import scalemix.numpyro as ppl
from scalemix import models
from scalemix.inference import enumeration, gibbs
from scalemix.likelihoods import Gaussian
from scalemix.posterior import Posterior
from scalemix.priors import SpikeAndSlab

RECIPES = {
    "collapsed Gibbs": gibbs.Settings(kind="collapsed", num_warmup=500, num_draws=5000, progress=False),
    "collapsed Gibbs, pairs": gibbs.Settings(kind="collapsed", num_warmup=500, num_draws=5000, block_size=2, progress=False),
    "NUTS within Gibbs": gibbs.Settings(kind="nuts", num_warmup=500, num_draws=2000, progress=False),
    "NUTS within Gibbs, blocks of 3": gibbs.Settings(kind="nuts", num_warmup=500, num_draws=2000, block_size=3, progress=False),
}
PLAIN = "NUTS within Gibbs"
PROMISED = 50.0
ROUNDS = 5
RESULTS = Path(__file__).parent / "results" / "gates.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    rounds = options.rounds
    x, y = regression()
    exact = enumeration.table(ppl, model, x, y).inclusion_prob["w1_noise"]
    rates: dict[str, list[float]] = {name: [] for name in RECIPES}
    errors: dict[str, list[float]] = {name: [] for name in RECIPES}
    compiled: dict[str, list[float]] = {name: [] for name in RECIPES}
    for seed in range(rounds):
        for name, settings in RECIPES.items():
            posterior = gibbs.fit(ppl, model, x, y, seed=seed, settings=settings)
            ess, error = _judge(posterior, exact)
            rates[name].append(ess / posterior.info.seconds_run)
            errors[name].append(error)
            compiled[name].append(posterior.info.seconds_compile)
    plain = float(np.median(rates[PLAIN]))
    rows = []
    for name in RECIPES:
        error, seconds = (float(np.median(each[name])) for each in (errors, compiled))
        rows.append([name, spread(rates[name]), f"{np.median(rates[name]) / plain:.1f}", f"{error:.2f}", f"{seconds:.1f}"])
    ratio = float(np.median(rates["collapsed Gibbs"])) / plain
    text = (
        table(["recipe", "ESS/s", "against NUTS within Gibbs", "largest error / bound", "compilation, s"], rows)
        + f"\n\ncollapsed Gibbs / NUTS within Gibbs: {ratio:.0f} (promised: at least {PROMISED:.0f})\n"
    )
    print(text)
    if rounds == ROUNDS:
        load = f"load {os.getloadavg()[0]:.1f} with this program at the end"
        said = f"`python benchmarks/gates.py`, {date.today()}, {rounds} rounds, medians and quartiles, {load}; {machine()}."
        RESULTS.write_text(f"# Point-spike gates\n\n{said}\n\n{text}")
    return 0 if ratio >= PROMISED and max(map(np.median, errors.values())) <= 1.0 else 1


def regression() -> tuple[np.ndarray, np.ndarray]:
    """The regression of the known answers I15 and I16."""
    i, j = np.arange(1.0, 21.0)[:, None], np.arange(1.0, 9.0)
    x = np.sin(0.7 * i * j) + 0.3 * np.cos(i + 2 * j)
    return x, x @ np.array([2.0, 0.0, -1.5, 0.0, 0.0, 0.8, 0.0, 0.0]) + 0.5 * np.sin(3.1 * i[:, 0] ** 2)


def model(ppl: Any, x: Any, y: Any = None) -> Any:
    return models.linear(ppl, x, y, prior=SpikeAndSlab(0.3), bias_prior=None, likelihood=Gaussian(scale=0.5))


def _judge(posterior: Posterior, exact: np.ndarray) -> tuple[float, float]:
    """Least ESS of a gate that moves, and the largest error in units of 4 × max(MCSE, √(p(1 − p)/ESS), 1e-3)."""
    gates = posterior.draws["w1_noise"].astype(float)
    ess = np.array([float(arviz.ess(gates[..., k])) for k in range(gates.shape[2])])
    spread = np.maximum(gates.std((0, 1)), np.sqrt(exact * (1 - exact))) / np.sqrt(ess)
    error = np.abs(gates.mean((0, 1)) - exact) / (4 * np.maximum(spread, 1e-3))
    return float(ess[np.ptp(gates, axis=(0, 1)) > 0].min()), float(error.max())


if __name__ == "__main__":
    sys.exit(main())
