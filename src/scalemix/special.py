"""Log densities of marginal laws on torch or JAX arrays, each written once.

``xp`` holds the array functions of the language (``scalemix.arrays``). Laws are those of w = ξ z, z ~ N(0, 1).
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "horseshoe_log_prob",
    "log_scaled_exp1",
    "log_uniform_log_prob",
    "mills_fraction",
    "two_scale_normal_log_prob",
    "uniform_log_prob",
    "uniform_variance_log_prob",
]

EULER_GAMMA = 0.5772156649015329
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
SQRT_HALF = math.sqrt(0.5)
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


def horseshoe_log_prob(xp: Any, w: Any) -> Any:
    """log p(w) = log(eᵘ E₁(u)) − log √(2π³), u = w²/2: half-Cauchy noise integrated out (Table 1, half-Cauchy)."""
    log_u = 2.0 * xp.log(xp.abs(w)) - math.log(2.0)
    return log_scaled_exp1(xp, 0.5 * w**2, log_u) - 0.5 * math.log(2 * math.pi**3)


def uniform_log_prob(xp: Any, w: Any, low: float, high: float) -> Any:
    """log of [E₁(w²/2h²) − E₁(w²/2l²)]/(2(h − l)√(2π)): ξ ~ U(l, h) (Table 1, uniform, for l = 0)."""
    constant = math.log(2 * (high - low) * math.sqrt(2 * math.pi))
    if low == 0.0:
        return _log_exp1(xp, w / high) - constant
    near = xp.abs(w) < 1e-6 * low
    apart = xp.where(near, low, w)
    at_high, at_low = _log_exp1(xp, apart / high), _log_exp1(xp, apart / low)
    return xp.where(near, math.log(2 * math.log(high / low)) + 0.0 * w, at_high + xp.log1p(-xp.exp(at_low - at_high))) - constant


def _log_exp1(xp: Any, z: Any) -> Any:
    """log E₁(z²/2)."""
    u = 0.5 * z**2
    return log_scaled_exp1(xp, u, 2.0 * xp.log(xp.abs(z)) - math.log(2.0)) - u


def uniform_variance_log_prob(xp: Any, w: Any, low: float, high: float) -> Any:
    """log of [G(b) − G(a)]/(b − a), G(v) = 2√v [φ(z) − z Φ(−z)], z = |w|/√v: ξ² ~ U(a, b) (VBD, eq. 11, γ integrated out)."""
    size = xp.abs(w)
    top = _log_normal_loss(xp, size / math.sqrt(high)) + 0.5 * math.log(high)
    if low > 0.0:
        bottom = _log_normal_loss(xp, size / math.sqrt(low)) + 0.5 * math.log(low)
        top = top + xp.log1p(-xp.exp(bottom - top))
    return top + math.log(2.0 / (high - low))


def _log_normal_loss(xp: Any, z: Any) -> Any:
    """log[φ(z) − z Φ(−z)], z ≥ 0; far out by a continued fraction, where the two terms cancel: φ(z) c/(z + c)."""
    near, far = xp.clip(z, max=3.0), xp.clip(z, min=3.0)
    mills = 0.5 * xp.erfc(near * SQRT_HALF) * xp.exp(0.5 * near**2 + HALF_LOG_2PI)
    return xp.where(z < 3.0, xp.log1p(-near * mills), -xp.log1p(far * mills_fraction(far))) - 0.5 * z**2 - HALF_LOG_2PI


def _log_tail(xp: Any, z: Any) -> Any:
    """log Φ(−z), z ≥ 0, with a gradient that is finite however far out: Φ(−z) = φ(z)/(z + 1/f)."""
    near, far = xp.clip(z, max=3.0), xp.clip(z, min=3.0)
    return xp.where(
        z < 3.0, xp.log(0.5 * xp.erfc(near * SQRT_HALF)), -xp.log(far + 1.0 / mills_fraction(far)) - 0.5 * far**2 - HALF_LOG_2PI
    )


def mills_fraction(z: Any) -> Any:
    """f = z + 2/(z + 3/(z + …)), of the continued fraction φ(z)/Φ(−z) = z + 1/f (Abramowitz and Stegun 26.2.14), z ≥ 3."""
    fraction = z
    for k in range(FRACTION_TERMS, 1, -1):
        fraction = z + k / fraction
    return fraction


def log_uniform_log_prob(xp: Any, w: Any, low: float, high: float) -> Any:
    """log of [Φ(−|w|/h) − Φ(−|w|/l)]/(|w| log(h/l)): ξ log-uniform on [l, h]; near 0 by a series in |w|/l."""
    size, edge, q = xp.abs(w), 0.05 * low, low / high
    r2 = (xp.clip(w, min=-edge, max=edge) / low) ** 2
    series = sum((-0.5) ** k / (math.factorial(k) * (2 * k + 1)) * (1.0 - q ** (2 * k + 1)) * r2**k for k in range(6))
    far = xp.clip(size, min=edge)
    at_high, at_low = _log_tail(xp, far / high), _log_tail(xp, far / low)
    apart = at_high + xp.log1p(-xp.exp(at_low - at_high)) - xp.log(far)
    return xp.where(size < edge, xp.log(series) - math.log(low) - HALF_LOG_2PI, apart) - math.log(math.log(high / low))


def two_scale_normal_log_prob(xp: Any, w: Any, inclusion_prob: Any, low: Any, high: Any, tied: tuple[int, ...], event_dim: int) -> Any:
    """log[π Πⱼ N(wⱼ; 0, highⱼ²) + (1 − π) Πⱼ N(wⱼ; 0, lowⱼ²)], j over the axes ``tied`` that share the gate; summed over the event."""
    log_low = -0.5 * (w / low) ** 2 - xp.log(low) - HALF_LOG_2PI
    log_high = -0.5 * (w / high) ** 2 - xp.log(high) - HALF_LOG_2PI
    if tied:
        log_low, log_high = xp.sum(log_low, axis=tied, keepdims=True), xp.sum(log_high, axis=tied, keepdims=True)
    log_prob = xp.logaddexp(xp.log(inclusion_prob) + log_high, xp.log1p(-inclusion_prob) + log_low)
    return xp.sum(log_prob, axis=tuple(range(-event_dim, 0))) if event_dim else log_prob
