"""Jensen's gap of the dropout objective: by how much E log p, which dropout maximizes, falls short of log E p, the marginal likelihood.

    gap = log E[p(ξ)] − E[log p(ξ)] ≥ 0,  ξ ~ noise

In the expanded parametrization p(ξ) is the likelihood of the data at fixed weights, with the noise on the weights or the units. In the
hierarchical one it is the prior Πⱼ N(wⱼ; 0, σ₀² ξ²) of the weights that share ξ. Propositions 4.1 and 4.2 of "Unifying the Dropout Family
Through Structured Shrinkage Priors" expand the gaps in Var[ξ] and Var[ξ⁻²]; beyond their leading terms those series are wrong, and for
noises with mass near 0 the second gap is infinite. Here both are computed as they are defined.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from scalemix import closed_form
from scalemix.checks import check_positive, check_positive_int
from scalemix.noise import Noise
from scalemix.noise_nodes import product_nodes
from scalemix.shrinkage import draw_noise

__all__ = ["JensenGap", "hierarchical_gap", "jensen_gap"]

Array = NDArray[np.float64]
METHODS = ("exact", "mc")
PLATES = ("global", "example")


@dataclass(frozen=True)
class JensenGap:
    """Both sides of Jensen's inequality, in nats.

    Attributes:
        log_marginal: log E[p].
        bound: E[log p], what the dropout objective is.
        standard_error: Monte Carlo standard error of the gap; 0 where it was summed exactly.
    """

    log_marginal: float
    bound: float
    standard_error: float = 0.0

    @property
    def gap(self) -> float:
        """log E[p] − E[log p]."""
        return self.log_marginal - self.bound


def jensen_gap(
    log_likelihood: Callable[[Array], Any],
    noise: Noise,
    *,
    num_noises: int = 1,
    method: str = "exact",
    noise_plate: str = "global",
    num_draws: int = 100_000,
    seed: int = 0,
) -> JensenGap:
    """Jensen's gap in the expanded parametrization, computed as it is defined: gap = log E[p(y | ξ)] − E[log p(y | ξ)].

    Nalisnick and Smyth (2018), eq. 9–11; their series for it, proposition 4.1, holds to leading order alone.

    Args:
        log_likelihood: from ξ, (S, num_noises), to log p(y | ξ) of the data, (S,), or of each example, (S, n).
        noise: the law of each ξ, all independent.
        num_noises: how many.
        method: "exact" sums over all gates, or over nodes of up to 3 continuous noises; "mc" draws, with log E p by log-mean-exp, whose
            bias of −(standard error)²/2 vanishes with the draws.
        noise_plate: "global" is the Bayesian model, one ξ for the data: log E[Πᵢ pᵢ]. "example" is a fresh ξ for each example, which is
            how dropout code draws: Σᵢ log E[pᵢ]. The bound is the same, the two marginal likelihoods are not.
        num_draws, seed: of method="mc".

    Raises:
        ValueError: unknown method or plate, too many noises for "exact", log-likelihoods of a wrong shape, or "example" without one per
            example.

    Example:
        >>> jensen_gap(lambda xi: -0.5 * ((y - (xi * w) @ X.T) ** 2), noise.Bernoulli.from_dropout_rate(0.3), num_noises=3).gap
    """
    check_positive_int("num_noises", num_noises)
    check_positive_int("num_draws", num_draws)
    if method not in METHODS:
        raise ValueError(f"method={method!r}: give one of {', '.join(map(repr, METHODS))}")
    if noise_plate not in PLATES:
        raise ValueError(f"noise_plate={noise_plate!r}: give one of {', '.join(map(repr, PLATES))}")
    if method == "exact":
        xi, prob = product_nodes([noise] * num_noises)
    else:
        xi = draw_noise(noise, (num_draws, num_noises), np.random.default_rng(seed))
        prob = np.full(num_draws, 1.0 / num_draws)
    log_p = _per_plate(np.asarray(log_likelihood(xi), dtype=float), len(xi), noise_plate)
    return _gap(log_p, prob, sampled=method == "mc")


def hierarchical_gap(w: Any, noise: Noise, *, base_scale: float = 1.0) -> JensenGap:
    """Jensen's gap of the prior in the hierarchical parametrization, gap = log E[Πⱼ N(wⱼ; 0, σ₀² ξ²)] − E Σⱼ log N(wⱼ; 0, σ₀² ξ²).

    Infinite (the bound is −inf) where E[ξ⁻²] is, as it is for Bernoulli, Rayleigh, Gaussian and half-Cauchy noise. Nalisnick and Smyth
    (2018), proposition 4.2, whose series holds to leading order and for a noise per weight alone.

    Args:
        w: (..., D): the D weights of a row share one ξ, each row has its own, and the gaps of the rows add. (D,) is one row; (D, 1) are D
            weights with a noise each.
        noise: the law of ξ.
        base_scale: σ₀.

    Raises: ValueError if w has a zero and ξ an atom there (no density), or base_scale is not positive.
    """
    check_positive("base_scale", base_scale)
    rows = np.atleast_1d(np.asarray(w, dtype=float))
    rows = rows.reshape(-1, rows.shape[-1])
    if noise.atom > 0.0 and np.any(np.all(rows == 0.0, axis=1)):
        raise ValueError(f"{noise} has an atom at 0, so a row of zeros has no density: give weights that are not 0")
    xi, prob = product_nodes([noise])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = base_scale * np.abs(xi)[:, :, None]
        each = closed_form.normal(rows[None] / scale, 1.0) - np.log(scale)
    log_p = np.where(xi == 0.0, -math.inf, each.sum(axis=-1))
    found = _gap(log_p, prob, sampled=False)
    return found if math.isfinite(noise.moments().inverse_second) else JensenGap(found.log_marginal, -math.inf)


def _per_plate(log_p: Array, count: int, noise_plate: str) -> Array:
    """(S, groups): the log-likelihood of what shares a ξ."""
    if log_p.ndim not in (1, 2) or log_p.shape[0] != count:
        raise ValueError(f"log_likelihood maps ξ of S = {count} rows to {log_p.shape}: return shape (S,), or (S, n) for n examples")
    if noise_plate == "example":
        if log_p.ndim == 1:
            raise ValueError("noise_plate='example' needs the log-likelihood of each example: return shape (S, n)")
        return log_p
    return log_p.reshape(count, -1).sum(axis=1, keepdims=True)


def _gap(log_p: Array, prob: Array, *, sampled: bool) -> JensenGap:
    """Σ_g log E[p_g] and E[Σ_g log p_g]; of draws, the standard error by the delta method."""
    used = prob > 0.0
    log_p, prob = log_p[used], prob[used]
    log_means = np.asarray(special.logsumexp(log_p + np.log(prob)[:, None], axis=0))
    bound = float(np.sum(prob @ log_p))
    error = 0.0
    if sampled:
        influence = np.sum(np.exp(log_p - log_means) - log_p, axis=1)
        error = float(influence.std(ddof=1) / math.sqrt(len(prob)))
    return JensenGap(float(log_means.sum()), bound, error)
