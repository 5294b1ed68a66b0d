"""Log densities of w = ξ z, z ~ N(0, σ₀²), in closed form, in NumPy and SciPy.

The densities take w as an array of any shape and return log p(w) of that shape; a pole at w = 0 is ``inf``, never a warning. ``scale`` is
σ₀ times the scale of ξ. Rows of Table 1 of "Unifying the Dropout Family Through Structured Shrinkage Priors", with its corrections.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "horseshoe",
    "laplace",
    "log_uniform",
    "normal",
    "product_normal",
    "student_t",
    "two_normals",
    "uniform",
    "uniform_variance",
    "variance_gamma",
]

Array = NDArray[np.float64]


def normal(w: Any, scale: float) -> Array:
    """log N(w; 0, scale²)."""
    return -0.5 * (np.asarray(w, dtype=float) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)


def two_normals(w: Any, inclusion_prob: float, low_scale: float, high_scale: float) -> Array:
    """log[π N(w; 0, high_scale²) + (1 − π) N(w; 0, low_scale²)]: Bernoulli noise, eq. 12.

    With low_scale = 0 the second term is the atom at 0, which is left out: the continuous part log π N(w; 0, high_scale²).
    """
    slab = special.xlogy(1.0, inclusion_prob) + normal(w, high_scale)
    return slab if low_scale == 0.0 else np.logaddexp(slab, special.xlog1py(1.0, -inclusion_prob) + normal(w, low_scale))


def laplace(w: Any, scale: float) -> Array:
    """log of e^{−|w|/b} / 2b, b = scale: Rayleigh noise, ξ² ~ Exponential (Table 1, row Rayleigh)."""
    return -np.abs(np.asarray(w, dtype=float)) / scale - np.log(2 * scale)


def student_t(w: Any, df: float, scale: float) -> Array:
    """log t_df(w / scale) / scale: inverse-Nakagami noise, ξ² ~ InvGamma(df/2, df/2) (Table 1, row inverse Nakagami, df = 2m).

    p(w) = (1 + w²/(df·scale²))^{−(df+1)/2} / (B(df/2, ½) √df scale).
    """
    z = np.asarray(w, dtype=float) / scale
    return -0.5 * (df + 1) * np.log1p(z**2 / df) - special.betaln(0.5 * df, 0.5) - 0.5 * np.log(df) - np.log(scale)


def horseshoe(w: Any, scale: float) -> Array:
    """log of eᵘ E₁(u) / (√(2π³) scale), u = w²/(2 scale²): half-Cauchy noise (Table 1, "unnamed": ξ² ~ scale² BetaPrime(½, ½)).

    eᵘ E₁(u) is −γ − log u as u → 0 (the pole) and 1/u as u → ∞ (the tail w⁻²).
    """
    z = np.abs(np.asarray(w, dtype=float)) / scale
    return _log_scaled_exp1(z) - 0.5 * math.log(2 * math.pi**3) - np.log(scale)


def product_normal(w: Any, scale: float) -> Array:
    """log of K₀(|w|/scale) / (π scale): Gaussian noise of mean 0 (Table 1, row Gaussian, which holds for mean 0 alone)."""
    z = np.abs(np.asarray(w, dtype=float)) / scale
    return np.log(special.k0e(z)) - z - np.log(math.pi * scale)


def variance_gamma(w: Any, shape: float, scale: float) -> Array:
    """log VG(w; λ, a) = log a^{2λ} |w|^{λ−½} K_{λ−½}(a|w|) / (√π Γ(λ) (2a)^{λ−½}), λ = shape, a = 1/scale: chi noise (Table 1, row chi).

    At w = 0 it is log Γ(λ − ½)/(2√π Γ(λ) scale) for λ > ½, and a pole for λ ≤ ½.
    """
    order, z = shape - 0.5, np.abs(np.asarray(w, dtype=float)) / scale
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bessel = np.where(z < 1e6, np.log(special.kve(order, z)), 0.5 * np.log(0.5 * math.pi / z) + (4 * order**2 - 1) / (8 * z))
        value = bessel - z + order * np.log(z)
        if order > 0:  # zᵛ Kᵥ(z) → 2^{ν−1} Γ(ν)
            limit = special.gammaln(order) + (order - 1.0) * math.log(2.0) + 0.0 * z
        elif order == 0:
            limit = np.log(math.log(2.0) - np.euler_gamma - np.log(z))
        else:  # K₋ᵥ = Kᵥ, so that zᵛ Kᵥ(z) → 2^{−ν−1} Γ(−ν) z^{2ν}
            limit = special.gammaln(-order) - (order + 1.0) * math.log(2.0) + 2.0 * order * np.log(z)
    value = np.where(np.isfinite(value) | (z > 1.0), value, limit)
    return value - 0.5 * math.log(math.pi) - special.gammaln(shape) - order * math.log(2.0) - math.log(scale)


def uniform(w: Any, low: float, high: float) -> Array:
    """log of [E₁(w²/2h²) − E₁(w²/2l²)] / (2(h − l)√(2π)): ξ ~ U(l, h) (Table 1, row uniform, for l = 0)."""
    w = np.abs(np.asarray(w, dtype=float))
    if low > 0.0:
        value = _log_exp1_difference(w, low, high)
    else:
        value = _log_scaled_exp1(w / high) - 0.5 * (w / high) ** 2
    return value - math.log(2 * (high - low) * math.sqrt(2 * math.pi))


def _log_exp1_difference(w: Array, low: float, high: float) -> Array:
    """log[E₁(w²/2h²) − E₁(w²/2l²)]; as w → 0 it is log(2 log(h/l))."""
    at_high, at_low = (_log_scaled_exp1(w / end) - 0.5 * (w / end) ** 2 for end in (high, low))
    u = 0.5 * np.minimum(w, 1e-6 * low) ** 2
    near_zero = math.log(2 * math.log(high / low)) + np.log1p(-u * (low**-2 - high**-2) / (2 * math.log(high / low)))
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = at_high + np.log1p(-np.exp(at_low - at_high))
    return np.where(w < 1e-6 * low, near_zero, apart)


def uniform_variance(w: Any, low: float, high: float) -> Array:
    """log of [G(b) − G(a)]/(b − a), G(v) = 2√v [φ(z) − z Φ(−z)], z = |w|/√v: ξ² ~ U(a, b), the Gaussian-uniform prior (eq. 11 of VBD)."""
    w = np.abs(np.asarray(w, dtype=float))
    top = _log_half_normal_loss(w / math.sqrt(high)) + 0.5 * math.log(high)
    if low > 0.0:
        bottom = _log_half_normal_loss(w / math.sqrt(low)) + 0.5 * math.log(low)
        with np.errstate(invalid="ignore"):
            top = np.where(top == -math.inf, -math.inf, top + np.log1p(-np.exp(np.minimum(bottom - top, 0.0))))
    return math.log(2.0) + top - math.log(high - low)


def _log_half_normal_loss(z: Array) -> Array:
    """log[φ(z) − z Φ(−z)], z ≥ 0; far out by a continued fraction, as the two terms cancel: φ(z) − z Φ(−z) = φ(z) c/(z + c)."""
    near = np.log(np.maximum(1.0 - z * math.sqrt(math.pi / 2) * special.erfcx(z / math.sqrt(2.0)), 1e-300))
    beyond = np.maximum(z, 3.0)
    fraction = beyond
    for k in range(60, 1, -1):
        fraction = beyond + k / fraction
    far = -np.log1p(beyond * fraction)
    return np.where(z < 3.0, near, far) - 0.5 * z**2 - 0.5 * math.log(2 * math.pi)


def log_uniform(w: Any, low: float, high: float) -> Array:
    """log of [Φ(−|w|/h) − Φ(−|w|/l)] / (|w| log(h/l)): ξ log-uniform on [l, h]; the smooth log-uniform prior, an erf density."""
    w = np.abs(np.asarray(w, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        at_high, at_low = special.log_ndtr(-w / high), special.log_ndtr(-w / low)
        apart = at_high + np.log1p(-np.exp(at_low - at_high)) - np.log(w)
    r, q = np.minimum(w / low, 0.05), low / high  # Φ(−z) = ½ − Σ (−1)ᵏ z^{2k+1} / (√(2π) 2ᵏ k! (2k + 1))
    series = sum((-0.5) ** k / (math.factorial(k) * (2 * k + 1)) * (r ** (2 * k) - q * (q * r) ** (2 * k)) for k in range(6))
    near = np.log(series) - math.log(low) - 0.5 * math.log(2 * math.pi)
    return np.where(w < 0.05 * low, near, apart) - math.log(math.log(high / low))


def _log_scaled_exp1(z: Array) -> Array:
    """log eᵘ E₁(u) at u = z²/2; three ranges, since u underflows below z ≈ 1e−154 and E₁ above u ≈ 700."""
    value = np.full(z.shape, math.nan)
    small, large = z < 1e-8, z > 10.0  # u = 5e-17: −γ − log u is exact to rounding; u = 50: 20 terms of the series leave 20!/50²⁰ = 3e-16
    middle = ~small & (z <= 10.0)
    u = 0.5 * z[middle] ** 2
    value[middle] = u + np.log(special.exp1(u))
    with np.errstate(divide="ignore"):
        value[small] = np.log(math.log(2.0) - np.euler_gamma - 2 * np.log(z[small]))
    log_u = 2 * np.log(z[large]) - math.log(2.0)
    inverse, series = np.exp(-log_u), np.ones_like(log_u)
    for k in range(20, 0, -1):  # Horner form of Σ (−1)ᵏ k! u⁻ᵏ
        series = 1.0 - k * inverse * series
    value[large] = np.log(series) - log_u
    return value
