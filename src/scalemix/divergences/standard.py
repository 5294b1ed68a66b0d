"""Kullback-Leibler divergences between textbook laws, elementwise and in nats."""

from __future__ import annotations

import math
from typing import Any

from scalemix.arrays import arrays, check_positives, check_probabilities, xlogx

__all__ = ["bernoulli", "log_normal_gamma", "log_normal_inverse_gamma", "normal"]

NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)  # of N(0, 1)


def normal(mean: Any, scale: Any, *, prior_mean: Any = 0.0, prior_scale: Any = 1.0) -> Any:
    """KL(N(m, σ²) ‖ N(m₀, σ₀²)) = ½[(m − m₀)²/σ₀² + σ²/σ₀² − 1] − log(σ/σ₀).

    Also that of two log-normal laws, with m and σ of the logarithm. Liu et al. (2019), eq. 14, is the case m₀ = 0, σ₀² = γ, σ² = α m².

    Args:
        mean, scale, prior_mean, prior_scale: m, σ, m₀, σ₀; shapes that broadcast, of NumPy, torch or JAX arrays.

    Returns: elementwise, in the shape they broadcast to.

    Raises: ValueError if ``prior_scale`` is a number that is not positive.
    """
    check_positives(prior_scale=prior_scale)
    xp, mean, scale, prior_mean, prior_scale = arrays(mean, scale, prior_mean, prior_scale)
    distance, ratio = (mean - prior_mean) / prior_scale, scale / prior_scale
    return 0.5 * (distance**2 + ratio**2 - 1.0) - xp.log(ratio)


def bernoulli(inclusion_prob: Any, *, prior_inclusion: Any) -> Any:
    """KL(Bern(p) ‖ Bern(π)) = p log(p/π) + (1 − p) log((1 − p)/(1 − π)), with finite gradients at p = 0 and p = 1.

    Args:
        inclusion_prob: p, from 0 to 1, of any shape.
        prior_inclusion: π, between 0 and 1.

    Returns: elementwise.

    Raises: ValueError if ``prior_inclusion`` is a number that is not between 0 and 1.
    """
    check_probabilities(prior_inclusion=prior_inclusion)
    xp, p, prior = arrays(inclusion_prob, prior_inclusion)
    return xlogx(xp, p) - p * xp.log(prior) + xlogx(xp, 1.0 - p) - (1.0 - p) * xp.log1p(-prior)


def log_normal_gamma(loc: Any, scale: Any, *, concentration: Any = 0.5, prior_scale: Any = 1.0) -> Any:
    """KL(LogN(μ, σ²) ‖ Gamma(a, scale θ)) = log Γ(a) + a(log θ − μ) + e^{μ + σ²/2}/θ − log σ − ½ log 2πe.

    With a = ½, θ = τ₀² it is the first half of a half-Cauchy scale split as C⁺(0, τ₀)² = Gamma(½, τ₀²)·InvGamma(½, 1), the group
    horseshoe of Louizos, Ullrich and Welling (2017), appendix A.

    Args:
        loc, scale: μ, σ of log x, which broadcast.
        concentration, prior_scale: a, θ.

    Returns: elementwise.

    Raises: ValueError if a or θ is a number that is not positive.
    """
    check_positives(concentration=concentration, prior_scale=prior_scale)
    xp, loc, scale, a, theta = arrays(loc, scale, concentration, prior_scale)
    relative = loc - xp.log(theta)  # x/θ is log-normal of this μ
    return xp.lgamma(a) - a * relative + xp.exp(relative + 0.5 * scale**2) - xp.log(scale) - NORMAL_ENTROPY


def log_normal_inverse_gamma(loc: Any, scale: Any, *, concentration: Any = 0.5, prior_scale: Any = 1.0) -> Any:
    """KL(LogN(μ, σ²) ‖ InvGamma(a, b)) = log Γ(a) − a(log b − μ) + b e^{−μ + σ²/2} − log σ − ½ log 2πe: that of 1/x to Gamma(a, 1/b).

    With a = ½, b = 1 it is the second half of a half-Cauchy scale (Louizos, Ullrich and Welling, 2017): see ``log_normal_gamma``.

    Args:
        loc, scale: μ, σ of log x, which broadcast.
        concentration, prior_scale: a, b.

    Returns: elementwise.

    Raises: ValueError if a or b is a number that is not positive.
    """
    check_positives(concentration=concentration, prior_scale=prior_scale)
    _, loc, scale, b = arrays(loc, scale, prior_scale)
    return log_normal_gamma(-loc, scale, concentration=concentration, prior_scale=1.0 / b)
