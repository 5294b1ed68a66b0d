"""Leave-one-out predictive density by importance sampling: the one computation behind the fits of a sampler and those of a guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalemix.comparison.chains import MIN_DRAWS, ess
from scalemix.comparison.psis import psis

if TYPE_CHECKING:
    from scalemix.posterior import Posterior

__all__ = ["Loo", "leave_one_out", "log_likelihood_matrix"]


@dataclass(frozen=True)
class Loo:
    """Expected log predictive density of new data, elpd = Σᵢ log p(yᵢ | y₋ᵢ): each observation from the others (nats, up is better).

    Vehtari, Gelman and Gabry (2017), by Pareto-smoothed importance sampling.

    Attributes:
        elpd: the sum; nan where the draws cannot say.
        standard_error: sqrt(n Var elpdᵢ), the spread over data sets like this one.
        monte_carlo_error: standard error from the finite number of draws alone.
        pareto_k: the largest k-hat over observations; above ``khat_threshold(S)`` the sum is not to be trusted.
        pointwise: (n,) terms of the sum.
        pareto_ks: (n,) k-hat of each.
    """

    elpd: float
    standard_error: float
    monte_carlo_error: float
    pareto_k: float
    pointwise: np.ndarray
    pareto_ks: np.ndarray

    @classmethod
    def blank(cls) -> Loo:
        """What is said of draws that cannot answer."""
        nan = float("nan")
        return cls(nan, nan, nan, nan, np.empty(0), np.empty(0))


def log_likelihood_matrix(posterior: Posterior) -> np.ndarray:
    """log p(yᵢ | θ) of every observation of every observed site: (chain, draw, n).

    Raises: ValueError if the posterior holds none.
    """
    if not posterior.log_likelihood:
        raise ValueError("this posterior holds no pointwise log-likelihood: fit a model with an observed site")
    parts = [np.asarray(value, dtype=float) for value in posterior.log_likelihood.values()]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=-1)


def leave_one_out(log_likelihood: np.ndarray, log_target_ratio: np.ndarray | None = None) -> Loo:
    """elpdᵢ = log Σₛ wᵢₛ p(yᵢ | θₛ), weights wᵢₛ ∝ rₛ / p(yᵢ | θₛ) smoothed by PSIS for each i.

    Args:
        log_likelihood: (chain, draw, n) log p(yᵢ | θₛ), nats.
        log_target_ratio: (chain, draw) log rₛ = log p(θₛ, y) - log q(θₛ) of independent draws of q; ``None`` for draws of the posterior
            itself, r = 1, whose autocorrelation then enters the tail length and the Monte Carlo error.

    The Monte Carlo error is the delta method's: draw s moves the sum by Σᵢ wᵢₛ (p(yᵢ | θₛ)/p̂ᵢ - 1), p̂ᵢ the estimated p(yᵢ | y₋ᵢ).
    Summing over i first keeps what the observations share, since all use the same draws.
    """
    chains, draws, n = log_likelihood.shape
    size = chains * draws
    correlated = log_target_ratio is None and draws >= MIN_DRAWS
    efficiency = np.ones(n)
    if correlated:
        relative = np.exp(log_likelihood - log_likelihood.max(axis=(0, 1)))
        efficiency = np.nan_to_num(ess(relative) / size, nan=1.0)
    flat = np.ascontiguousarray(log_likelihood.reshape(size, n).T)
    base = np.zeros(size) if log_target_ratio is None else np.asarray(log_target_ratio, dtype=float).reshape(size)
    pointwise, pareto_ks, influence = np.empty(n), np.empty(n), np.zeros(size)
    for i in range(n):
        log_weights, pareto_ks[i] = psis(base - flat[i], relative_efficiency=efficiency[i])
        terms = log_weights + flat[i]
        pointwise[i] = terms.max() + np.log(np.exp(terms - terms.max()).sum())
        influence += np.exp(terms - pointwise[i]) - np.exp(log_weights)
    inefficiency = 1.0
    if correlated:
        inefficiency = size / float(np.nan_to_num(ess(influence.reshape(chains, draws, 1))[0], nan=size))
    spread = float(np.sqrt(n * np.var(pointwise)))
    monte_carlo = float(np.sqrt(np.sum(influence**2) * inefficiency))
    return Loo(float(pointwise.sum()), spread, monte_carlo, float(pareto_ks.max()), pointwise, pareto_ks)
