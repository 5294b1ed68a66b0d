"""Log densities of marginal laws on torch or JAX arrays, each written once. ``xp`` is the array module (``torch`` or ``jax.numpy``)."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["horseshoe_log_prob", "log_scaled_exp1", "two_scale_normal_log_prob"]

EULER_GAMMA = 0.5772156649015329
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
SERIES_TERMS = 20  # at u ≤ 1 the first term left out is 1/(21·21!) ≈ 1e-21
FRACTION_TERMS = 60  # at u ≥ 1 the error of the continued fraction is about exp(−4√60) ≈ 1e-13


def log_scaled_exp1(xp: Any, u: Any, log_u: Any) -> Any:
    """log(eᵘ E₁(u)) for u ≥ 0, elementwise; +inf at 0. ``log_u`` is given apart, as it stays exact where u underflows.

    Power series (Abramowitz and Stegun 5.1.11) below 1, the continued fraction 5.1.22 above.
    """
    small = xp.clip(u, max=1.0)
    term, series = small, small
    for k in range(2, SERIES_TERMS + 1):
        term = term * (-small * ((k - 1) / k**2))
        series = series + term
    below = small + xp.log(series - EULER_GAMMA - xp.where(u < 1.0, log_u, 0.0 * log_u))
    large = xp.clip(u, min=1.0)
    fraction = large + (2 * FRACTION_TERMS + 1)
    for k in range(FRACTION_TERMS, 0, -1):
        fraction = large + (2 * k - 1) - k**2 / fraction
    return xp.where(u < 1.0, below, -xp.log(fraction))


def horseshoe_log_prob(xp: Any, w: Any, scale: Any) -> Any:
    """log p(w) = log(eᵘ E₁(u)) − log(√(2π³) scale), u = w²/(2 scale²): half-Cauchy noise integrated out (Table 1, half-Cauchy)."""
    ratio = w / scale
    log_u = 2.0 * xp.log(xp.abs(ratio)) - math.log(2.0)
    return log_scaled_exp1(xp, 0.5 * ratio**2, log_u) - xp.log(scale) - 0.5 * math.log(2 * math.pi**3)


def two_scale_normal_log_prob(xp: Any, w: Any, inclusion_prob: Any, low: Any, high: Any, tied: tuple[int, ...], event_dim: int) -> Any:
    """log[π Πⱼ N(wⱼ; 0, highⱼ²) + (1 − π) Πⱼ N(wⱼ; 0, lowⱼ²)], j over the axes ``tied`` that share the gate; summed over the event."""
    log_low = -0.5 * (w / low) ** 2 - xp.log(low) - HALF_LOG_2PI
    log_high = -0.5 * (w / high) ** 2 - xp.log(high) - HALF_LOG_2PI
    if tied:
        log_low, log_high = xp.sum(log_low, axis=tied, keepdims=True), xp.sum(log_high, axis=tied, keepdims=True)
    log_prob = xp.logaddexp(xp.log(inclusion_prob) + log_high, xp.log1p(-inclusion_prob) + log_low)
    return xp.sum(log_prob, axis=tuple(range(-event_dim, 0))) if event_dim else log_prob
