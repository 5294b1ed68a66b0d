"""What a prior costs: log density and gradient of weights under ``ppl.weight`` against the same sample statements written by hand.

    python benchmarks/priors.py            # a few minutes; writes benchmarks/results/priors.md
    python benchmarks/priors.py --quick    # fewer rounds, no file

200 × 5 weights and as many normal observations of them, float64, one thread. The sides take turns as in ``overhead.py``, whose rows and
targets these are: at most 1.05 in NumPyro (compiled, and within 1 % of the FLOPs asked for) and 1.10 in Pyro.
"""

from __future__ import annotations

import overhead  # isort: skip  (first: it sets the number of threads before the libraries are loaded)
import argparse
import os
import sys
from functools import partial
from math import log, sqrt
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as numpyro_dist
import pyro
import pyro.distributions as pyro_dist
import torch
from overhead import Row, Side, in_turns, numpyro_leapfrog
from pyro.infer.mcmc.util import initialize_model

import scalemix as sm
import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise

RESULTS = Path(__file__).parent / "results" / "priors.md"
SHAPE = (200, 5)
NUM_GRADIENTS = 40


def ours(ppl: Any, y: Any, *, prior: Any, form: str) -> None:
    w = ppl.weight("w", SHAPE, prior, parametrization=form)
    ppl.sample("y", ppl.dist.Normal(w, 1.0).to_event(2), obs=y)


# --- by hand: ``ppl`` is pyro or numpyro, ``dist`` its distributions --------------------------------------------------------------------


def observe(ppl, dist, w, y):
    ppl.sample("y", dist.Normal(w, 1.0).to_event(2), obs=y)


def laplace(ppl, dist, y):
    observe(ppl, dist, ppl.sample("w", dist.Laplace(0.0, 0.5).expand(SHAPE).to_event(2)), y)


def rayleigh(ppl, dist, y):
    xi = ppl.sample("w_noise", dist.Weibull(sqrt(2), 2.0).expand(SHAPE).to_event(2))
    z = ppl.sample("w_base", dist.Normal(0.0, 0.5).expand(SHAPE).to_event(2))
    observe(ppl, dist, ppl.deterministic("w", xi * z), y)


def centered(ppl, dist, y):
    xi = ppl.sample("w_noise", dist.HalfCauchy(1.0).expand(SHAPE[:1]).to_event(1))
    scale = 0.5 * xi[:, None] + (jnp.zeros(SHAPE) if ppl is numpyro else torch.zeros(SHAPE))
    observe(ppl, dist, ppl.sample("w", dist.Normal(0.0, scale).to_event(2)), y)


def dropout(ppl, dist, y):
    xi = ppl.sample("w_noise", dist.Normal(1.0, 0.5).expand(SHAPE[:1]).to_event(1))
    z = ppl.sample("w_base", dist.Normal(0.0, 1.0).expand(SHAPE).to_event(2))
    observe(ppl, dist, ppl.deterministic("w", xi[:, None] * z), y)


def horseshoe(ppl, dist, y):
    xi = ppl.sample("w_noise_weight", dist.HalfCauchy(1.0).expand(SHAPE).to_event(2))
    tau = ppl.sample("w_tau", dist.HalfCauchy(0.1))
    z = ppl.sample("w_base", dist.Normal(0.0, 1.0).expand(SHAPE).to_event(2))
    observe(ppl, dist, ppl.deterministic("w", xi * tau * z), y)


class NumPyroMixture(numpyro_dist.Distribution):
    support = numpyro_dist.constraints.real

    def log_prob(self, w):
        spike, slab = numpyro_dist.Normal(0.0, 0.05).log_prob(w), numpyro_dist.Normal(0.0, 1.0).log_prob(w)
        return jnp.logaddexp(log(0.1) + slab, log(0.9) + spike)

    def sample(self, key, sample_shape=()):
        return numpyro_dist.Normal(0.0, 1.0).sample(key, sample_shape + self.batch_shape)


class PyroMixture(pyro_dist.TorchDistribution):
    support, arg_constraints, has_rsample = pyro_dist.constraints.real, {}, True

    def log_prob(self, w):
        spike, slab = pyro_dist.Normal(0.0, 0.05).log_prob(w), pyro_dist.Normal(0.0, 1.0).log_prob(w)
        return torch.logaddexp(log(0.1) + slab, log(0.9) + spike)

    def rsample(self, sample_shape=()):
        return torch.randn(torch.Size(sample_shape) + self.batch_shape)


def spike(ppl, dist, y):
    law = NumPyroMixture if ppl is numpyro else PyroMixture
    observe(ppl, dist, ppl.sample("w", law(batch_shape=SHAPE).to_event(2)), y)


PRIORS = {
    "Laplace, marginal": (sm.Laplace(0.5), "marginal", laplace),
    "Laplace, expanded": (sm.Laplace(0.5), "expanded", rayleigh),
    "half-Cauchy per input, hierarchical": (sm.ScaleMixture(noise.HalfCauchy().per("in"), base_scale=0.5), "hierarchical", centered),
    "Gaussian dropout per input, expanded": (sm.ScaleMixture(noise.Gaussian(1.0, 0.5).per("in")), "expanded", dropout),
    "horseshoe, expanded": (sm.Horseshoe(0.1), "expanded", horseshoe),
    "spike-and-slab, marginal": (sm.SpikeAndSlab(0.1, 1.0, 0.05), "marginal", spike),
}


def pyro_gradient(model: Any, args: tuple) -> Side:
    """potential and gradient"""
    pyro.set_rng_seed(0)
    start, potential, _, _ = initialize_model(model, args, {})
    start = {name: value.detach().clone().requires_grad_() for name, value in start.items()}

    def take() -> int:
        for _ in range(NUM_GRADIENTS):
            torch.autograd.grad(potential(start), list(start.values()))
        return NUM_GRADIENTS

    return Side(take)


def measure(rounds: int) -> list[Row]:
    y = np.random.default_rng(0).normal(size=SHAPE)
    rows: list[Row] = []
    for name, (prior, form, hand) in PRIORS.items():
        model = partial(ours, prior=prior, form=form)
        with in_numpyro.engine.precision("float64", "cpu"):
            both = partial(model, in_numpyro), partial(hand, numpyro, numpyro_dist)
            sides = [numpyro_leapfrog(each, (jnp.asarray(y),)) for each in both]
            rows.append(Row("NumPyro", name, "log density and gradient", *in_turns([side.take for side in sides], rounds)))
            rows.append(Row("NumPyro", name, "FLOPs", *overhead.flops([side.lowered for side in sides])))
        with in_pyro.engine.precision("float64", "cpu"), pyro.validation_enabled(False):
            sides = [pyro_gradient(each, (torch.as_tensor(y),)) for each in (partial(model, in_pyro), partial(hand, pyro, pyro_dist))]
            rows.append(Row("Pyro", name, "log density and gradient", *in_turns([side.take for side in sides], rounds)))
        print(f"timed {name}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21, help="rounds of ours, hand, hand, ours (default 21)")
    parser.add_argument("--quick", action="store_true", help="three rounds, nothing written")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    rows = measure(rounds)
    text = overhead.report(rows, rounds, title="Cost of a prior over the same law written by hand", script="priors.py")
    print(text)
    if not options.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
