"""Variational Bayesian dropout: q(w) = N(θ, σ²) against w ~ N(0, γ), γ ~ U(a, b), with γ put where the divergence is least.

A point γ has an infinite divergence from its uniform law, a constant that is left out: what remains is empirical Bayes for γ.
"""

from __future__ import annotations

import math
from typing import Any

from scalemix.arrays import arrays, clip
from scalemix.checks import check_nonnegative
from scalemix.divergences.dawson import EDGE

__all__ = ["bounded_gaussian_uniform", "gaussian_uniform", "gaussian_uniform_variance"]


def gaussian_uniform(log_alpha: Any) -> Any:
    """min_γ KL(N(θ, α θ²) ‖ N(0, γ)) = ½ log(1 + 1/α), γ* = (1 + α) θ².

    Liu et al. (2019), eq. 16 and 17, proposition 3.

    Args:
        log_alpha: log α of any shape, held within ±12 (``log_alpha(mean, scale)``).

    Returns: elementwise; 0 as α → ∞.
    """
    xp, x = arrays(log_alpha)
    return 0.5 * xp.softplus(-clip(xp, x, -EDGE, EDGE))


def gaussian_uniform_variance(mean: Any, scale: Any, *, low: float = 0.0, high: float = math.inf) -> Any:
    """γ* = θ² + σ² held within [a, b]: where KL(N(θ, σ²) ‖ N(0, γ)) is least.

    Liu et al. (2019), eq. 16, with the bounds of eq. 11.

    Arguments, shapes and errors as in ``bounded_gaussian_uniform``.
    """
    _check_bounds(low, high)
    xp, mean, scale = arrays(mean, scale)
    return clip(xp, mean**2 + scale**2, low, high)


def bounded_gaussian_uniform(mean: Any, scale: Any = None, *, log_variance: Any = None, low: float = 0.0, high: float = math.inf) -> Any:
    """min over γ in [a, b] of KL(N(θ, σ²) ‖ N(0, γ)) = ½ log(γ*/σ²) + (θ² + σ²)/(2γ*) − ½, γ* = θ² + σ² held within [a, b].

    Liu et al. (2019), eq. 14 and 16, with the bounds of eq. 11. Within them it is ½ log(1 + θ²/σ²), here for any θ and σ, not only where
    |log α| ≤ 12.

    Args:
        mean, scale: θ and σ, which broadcast, of NumPy, torch or JAX arrays.
        log_variance: log σ², in place of ``scale``. It saves a fifth of the exponentials of a gradient with respect to it.
        low, high: a and b, bounds of the VARIANCE γ. The defaults never bind.

    Returns: elementwise.

    Raises: ValueError unless 0 ≤ low < high, and one of ``scale`` and ``log_variance`` is given.
    """
    _check_bounds(low, high)
    if (scale is None) == (log_variance is None):
        raise ValueError("bounded_gaussian_uniform wants the width of q once: give scale or log_variance")
    if log_variance is None:
        xp, mean, scale = arrays(mean, scale)
        ratio = (mean / scale) ** 2
    else:
        xp, mean, log_variance = arrays(mean, log_variance)
        ratio = (mean * xp.exp(-0.5 * log_variance)) ** 2  # e⁻ˣ itself is no float32 for x < −88, and times a mean of 0 not a number
    value = 0.5 * xp.log1p(ratio)
    if low == 0.0 and high == math.inf:
        return value
    log_variance = 2.0 * xp.log(scale) if log_variance is None else log_variance
    second_moment = mean**2 + xp.exp(log_variance)
    if low > 0.0:
        value = xp.where(second_moment < low, _at(second_moment, log_variance, low), value)
    if high < math.inf:
        value = xp.where(second_moment > high, _at(second_moment, log_variance, high), value)
    return value


def _at(second_moment: Any, log_variance: Any, variance: float) -> Any:
    return 0.5 * (math.log(variance) - log_variance + second_moment / variance - 1.0)


def _check_bounds(low: float, high: float) -> None:
    check_nonnegative("low", low)
    if not low < high:
        raise ValueError(f"low={low}, high={high} bound no variance: give low < high")
