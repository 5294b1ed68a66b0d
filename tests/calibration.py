"""Simulation-based calibration (Talts et al., 2018; Modrák et al., 2023) of NUTS under our priors, many data sets in one run.

Weights w* are drawn from the prior and data y from w*; then w* is one more draw of the posterior given y, so that its rank among L
independent draws, by any function of (w, y), is uniform on 0, …, L. Here the functions are tanh of each weight, which sees its place, and
the log likelihood, which sees how far the posterior leans on the data. Data sets are independent posteriors side by side in a plate.

``scalemix.comparison.calibrate`` does this for any fit, one data set after the other; a thousand runs for each prior would be days, and
the exact binomial law of counts of ranks has room for a level of 1e-6, so here is a comparison and a sum of its own. ``simuk`` 0.3 fits
one after the other too, takes no fit of one's own, ranks sampled sites alone and so no log likelihood, and stands on ArviZ 1.x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

import scalemix.numpyro as in_numpyro
from scalemix.inference import nuts
from scalemix.priors import ScaleMixture

__all__ = ["QUANTITIES", "RIGHT", "Fit", "limits", "p_value", "ranks"]

Array = np.ndarray
CASES, COLUMNS = 10, 3
X = 0.5 * np.random.default_rng(0).normal(size=(CASES, COLUMNS))
QUANTITIES = ("log likelihood", *(f"tanh w{j + 1}" for j in range(COLUMNS)))
# Data sets with a greater |y| are not used. A choice by y alone leaves w* a draw of the posterior given y, and it spares the sampler the
# far tail of the half-Cauchy, where ξ z is known to a thousandth and ξ is not.
LARGEST = 6.0


@dataclass(frozen=True)
class Fit:
    """How some of the data sets are fitted: the prior's scale times ``scale``, the likelihood to the power ``temper``; 1, 1 is right."""

    scale: float = 1.0
    temper: float = 1.0


RIGHT = Fit()


def regression(ppl: Any, fits: Mapping[str, Any], y: Any | None, *, prior: ScaleMixture) -> None:
    """y ~ N(X w, 1) to the power temper, one data set for each row of ``fits``; w in the parametrization that is the default."""
    with ppl.plate("data_sets", len(fits["temper"])):
        w = ppl.weight("w", COLUMNS, prior, scale=fits.get("scale"))
        mean = ppl.linear(w[..., None, :], ppl.array(X.T))[..., 0, :]
        ppl.sample("y", ppl.dist.Normal(mean, fits["temper"][:, None] ** -0.5).to_event(1), obs=y)


def ranks(
    prior: ScaleMixture, *fits: Fit, size: int, num_draws: int, thin: int, seed: int, num_warmup: int, max_tree_depth: int
) -> list[Array]:
    """Rank (data set, quantity) of w* among num_draws/thin − 1 draws, for ``size`` data sets under each of ``fits``, all in one run."""
    fits = fits or (RIGHT,)
    w_true, y = simulated(prior, size * len(fits), seed)
    cells = {"temper": np.repeat([fit.temper for fit in fits], size)}
    if any(fit.scale != 1.0 for fit in fits):
        cells["scale"] = np.repeat([fit.scale for fit in fits], size)
    settings = nuts.Settings(
        num_warmup=num_warmup,
        num_draws=num_draws,
        num_chains=1,
        target_accept_prob=0.8,
        max_tree_depth=max_tree_depth,
        progress=False,
    )
    posterior = nuts.fit(in_numpyro, partial(regression, prior=prior), cells, y, seed=seed, settings=settings)
    w = posterior.draws["w"][0, thin - 1 :: thin][1:]  # one less, so that the ranks are as many as the draws kept were
    rank = np.sum(quantities(w, y) < quantities(w_true, y), axis=0)
    return np.split(rank, len(fits))


def p_value(rank: Array, num_ranks: int) -> float:
    """P(some point of the empirical distribution function is as far out as the farthest | uniform), at most: Bonferroni over the points.

    The number of ranks up to k is binomial, exactly, at each k.
    """
    k = np.arange(num_ranks - 1)
    law = stats.binom(len(rank), (k + 1) / num_ranks)
    count = np.sum(rank[:, None] <= k, axis=0)
    return min(1.0, 2.0 * len(k) * float(np.min(np.minimum(law.cdf(count), law.sf(count - 1)))))


def limits(size: int, num_ranks: int, level: float) -> tuple[Array, Array]:
    """Least and greatest count of ranks up to k = 0, …, num_ranks − 2 for which ``p_value`` is above ``level``."""
    law = stats.binom(size, np.arange(1, num_ranks) / num_ranks)
    tail = level / (2.0 * (num_ranks - 1))
    return law.ppf(tail), law.isf(tail)


def simulated(prior: ScaleMixture, size: int, seed: int) -> tuple[Array, Array]:
    """w* (data set, column), drawn from the prior, and y (data set, case), drawn given w*."""
    with in_numpyro.engine.precision("float64", "cpu"):
        right = {"temper": np.ones(3 * size)}
        drawn = in_numpyro.engine.sample_prior(partial(regression, prior=prior), (right, None), num_draws=1, seed=seed)
    usable = np.flatnonzero(np.abs(drawn["y"][0]).max(axis=1) <= LARGEST)[:size]
    assert len(usable) == size, f"{prior}: only {len(usable)} of {3 * size} data sets are within ±{LARGEST}"
    return drawn["w"][0][usable], drawn["y"][0][usable]


def quantities(w: Array, y: Array) -> Array:
    """(..., quantity) of w (..., column) given y (..., case)."""
    log_likelihood = -0.5 * np.sum((y - w @ X.T) ** 2, axis=-1) - 0.5 * CASES * math.log(2 * math.pi)
    return np.concatenate([log_likelihood[..., None], np.tanh(w)], axis=-1)
