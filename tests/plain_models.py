"""One model as somebody would write it in plain Pyro and in plain NumPyro, with ``ppl.weight`` in it, and what one run of it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as numpyro_dist
import pyro
import pyro.distributions as pyro_dist
from numpyro import handlers
from numpyro.infer.util import compute_log_probs
from pyro import poutine

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import noise
from scalemix.plan import Parametrization
from scalemix.priors import Horseshoe, Laplace, ScaleMixture, SpikeAndSlab, StudentT

__all__ = ["HANDLERS", "LANGUAGES", "PLAIN", "PRIORS", "SHARED", "X", "Y", "data", "run"]

X = np.random.default_rng(0).normal(size=(5, 2))
Y = np.random.default_rng(1).normal(size=5)
LANGUAGES = {"numpyro": in_numpyro, "pyro": in_pyro}
HANDLERS = {"numpyro": handlers, "pyro": poutine}
SHARED = ScaleMixture(noise.Rayleigh().per("layer"))
PRIORS = {
    "laplace-expanded": (Laplace(0.7), "expanded"),
    "laplace-hierarchical": (Laplace(0.7), "hierarchical"),
    "laplace-marginal": (Laplace(0.7), "marginal"),
    "student_t-expanded": (StudentT(4.0), "expanded"),
    "student_t-hierarchical": (StudentT(4.0), "hierarchical"),
    "spike-marginal": (SpikeAndSlab(0.3, 1.0, 0.1), "marginal"),
    "horseshoe-marginal": (ScaleMixture(noise.HalfCauchy()), "marginal"),
    "shared_gate-marginal": (ScaleMixture(noise.Bernoulli(0.3, low=0.1).per("layer")), "marginal"),
    "shared-expanded": (SHARED, "expanded"),
    "shared-hierarchical": (SHARED, "hierarchical"),
    "regularized_horseshoe-expanded": (Horseshoe(0.3, slab_scale=2.0), "expanded"),
    "regularized_horseshoe-hierarchical": (Horseshoe(0.3, slab_scale=2.0), "hierarchical"),
}


def in_plain_numpyro(x: Any, y: Any = None, *, prior: ScaleMixture = Laplace(0.7), form: Parametrization = None) -> Any:  # noqa: B008
    sigma = numpyro.sample("sigma", numpyro_dist.HalfNormal(1.0))
    w = in_numpyro.weight("w", (2,), prior, parametrization=form)
    with numpyro.plate("rows", x.shape[0]):
        return numpyro.sample("y", numpyro_dist.Normal(x @ w, sigma), obs=y)


def in_plain_pyro(x: Any, y: Any = None, *, prior: ScaleMixture = Laplace(0.7), form: Parametrization = None) -> Any:  # noqa: B008
    sigma = pyro.sample("sigma", pyro_dist.HalfNormal(1.0))
    w = in_pyro.weight("w", (2,), prior, parametrization=form)
    with pyro.plate("rows", x.shape[0]):
        return pyro.sample("y", pyro_dist.Normal(x @ w, sigma), obs=y)


PLAIN = {"numpyro": in_plain_numpyro, "pyro": in_plain_pyro}


def data(name: str) -> tuple[Any, Any]:
    return LANGUAGES[name].array(X), LANGUAGES[name].array(Y)


def run(name: str, model: Callable[..., Any], *args: Any) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """One run of a model: values of all its sites, and the summed log probability of each sample site."""
    if name == "numpyro":
        log_probs, trace = compute_log_probs(handlers.seed(model, 3), args, {}, {})
        values = {key: np.asarray(site["value"]) for key, site in trace.items() if site["type"] in ("sample", "deterministic")}
        return values, {key: float(value) for key, value in log_probs.items()}
    with in_pyro.engine.seeded(3):
        trace = poutine.trace(model).get_trace(*args)
    trace.compute_log_prob()
    sites = {key: site for key, site in trace.nodes.items() if site["type"] == "sample" and not poutine.util.site_is_subsample(site)}
    values = {key: site["value"].detach().numpy() for key, site in sites.items()}
    return values, {key: float(site["log_prob_sum"]) for key, site in sites.items() if not site["infer"].get("_deterministic")}
