"""Draws of a weight under its prior, in either language, and whether they have the law that the prior states."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpyro import handlers
from scipy import stats

import scalemix.numpyro as in_numpyro
import scalemix.pyro as in_pyro
from scalemix import atom, log_marginal
from scalemix.plan import Parametrization
from scalemix.priors import ScaleMixture

__all__ = ["P_VALUE", "p_value", "p_value_cauchy", "prior_draws"]

P_VALUE = 1e-4
LANGUAGES = {"numpyro": in_numpyro, "pyro": in_pyro}


def prior_draws(
    language: str,
    prior: ScaleMixture,
    shape: tuple[int, ...],
    form: Parametrization,
    *,
    axes: tuple[str, ...] | None = None,
    num_cells: int = 100_000,
) -> np.ndarray:
    """(num_cells, *shape) weights, one array to a cell of a plate around ``ppl.weight``."""
    ppl = LANGUAGES[language]

    def model() -> Any:
        with ppl.plate("cells", num_cells, dim=-1):
            return ppl.weight("w", shape, prior, axes=axes, parametrization=form)

    if language == "pyro":
        with in_pyro.engine.seeded(12):
            return model().numpy()
    return np.asarray(handlers.seed(model, 12)())


def p_value(prior: ScaleMixture, w: np.ndarray) -> float:
    """Of Kolmogorov and Smirnov's test that the |w| > 0 are draws of the prior, by ``scalemix.log_marginal``."""
    log_size, cumulative = _law_of_log_size(prior)
    return float(stats.kstest(np.log(np.abs(w)), lambda t: np.interp(t, log_size, cumulative), method="asymp").pvalue)


def p_value_cauchy(ratio: np.ndarray) -> float:
    """The same, for a Cauchy law."""
    return float(stats.kstest(ratio, stats.cauchy.cdf, method="asymp").pvalue)


@lru_cache
def _law_of_log_size(prior: ScaleMixture) -> tuple[np.ndarray, np.ndarray]:
    """P(log|w| < t) on a grid of t: 2 ∫ e^t p(e^t) dt by the trapezoidal rule, whose whole must be 1."""
    t = np.linspace(-40.0, 60.0, 4001)
    density = 2.0 * np.exp(log_marginal(prior, np.exp(t)) + t)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(t) * (density[1:] + density[:-1]))])
    assert math.isclose(cumulative[-1], 1.0 - atom(prior), rel_tol=1e-6)
    return t, cumulative / cumulative[-1]
