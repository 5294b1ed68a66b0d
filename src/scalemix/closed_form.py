"""One Gaussian scale mixture in NumPy and SciPy: log densities of w = ξ z, moments of ξ, the inverse-Nakagami law, and the quadrature
that stands in where a closed form is missing.

The densities take w as an array of any shape and return log p(w) of that shape; a pole at w = 0 is ``inf``, never a warning. ``scale`` is
σ₀ times the scale of ξ. Rows of Table 1 of "Unifying the Dropout Family Through Structured Shrinkage Priors", with its corrections.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "InverseNakagamiLaw",
    "Moments",
    "constant_moments",
    "find_peak",
    "horseshoe",
    "inverse_nakagami",
    "inverse_nakagami_moments",
    "laplace",
    "log_integral",
    "moments_by_quadrature",
    "normal",
    "product_normal",
    "student_t",
    "two_normals",
    "two_point_moments",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Moments of a noise ξ: ``inf`` where infinite, ``nan`` where undefined.

    Attributes:
        mean: E[ξ].
        second: E[ξ²].
        variance: Var[ξ].
        inverse_second: E[ξ⁻²].
        inverse_second_variance: Var[ξ⁻²].
    """

    mean: float
    second: float
    variance: float
    inverse_second: float
    inverse_second_variance: float


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


def constant_moments(value: float) -> Moments:
    """ξ = value."""
    return Moments(value, value**2, 0.0, value**-2, 0.0)


def two_point_moments(inclusion_prob: float, low: float, high: float) -> Moments:
    """ξ = high with probability π, else low; E[ξ⁻²] = ∞ where low = 0 has mass."""
    p, q = inclusion_prob, 1.0 - inclusion_prob
    mean, second, variance = p * high + q * low, p * high**2 + q * low**2, p * q * (high - low) ** 2
    if low == 0.0 and q > 0:
        return Moments(mean, second, variance, math.inf, math.nan)
    low_inverse = low**-2 if q > 0 else 0.0
    return Moments(mean, second, variance, p * high**-2 + q * low_inverse, p * q * (high**-2 - low_inverse) ** 2)


def inverse_nakagami_moments(m: float, omega: float) -> Moments:
    """1/ξ ~ Nakagami(m, Ω): E[ξ] = √(m/Ω) Γ(m − ½)/Γ(m), E[ξ²] = m/(Ω(m − 1)), E[ξ⁻²] = Ω, Var[ξ⁻²] = Ω²/m (Table 1)."""
    mean = math.sqrt(m / omega) * math.exp(special.gammaln(m - 0.5) - special.gammaln(m)) if m > 0.5 else math.inf
    second = m / (omega * (m - 1.0)) if m > 1.0 else math.inf
    variance = second - mean**2 if m > 1.0 else math.inf
    return Moments(mean, second, variance, omega, omega**2 / m)


@dataclass(frozen=True)
class InverseNakagamiLaw:
    """ξ = scale·√(df/χ²_df): ξ² ~ InvGamma(a, a·scale²), a = df/2. Methods as those of a frozen ``scipy.stats`` distribution.

    p(ξ) = 2 aᵃ/Γ(a) · x^{−2a−1} e^{−a/x²} / scale with x = ξ/scale > 0.
    """

    df: float
    scale: float

    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    def logpdf(self, x: Any) -> Array:
        a, x = 0.5 * self.df, np.asarray(x, dtype=float) / self.scale
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            value = math.log(2.0) + special.xlogy(a, a) - special.gammaln(a) - (self.df + 1) * np.log(x) - a / x**2 - math.log(self.scale)
        return np.where((x > 0) & (x < math.inf), value, np.where(np.isnan(x), math.nan, -math.inf))

    def pdf(self, x: Any) -> Array:
        return np.exp(self.logpdf(x))

    def cdf(self, x: Any) -> Array:
        return special.gammaincc(0.5 * self.df, self._ratio(x))

    def sf(self, x: Any) -> Array:
        return special.gammainc(0.5 * self.df, self._ratio(x))

    def ppf(self, q: Any) -> Array:
        return self._root(special.gammainccinv(0.5 * self.df, q))

    def isf(self, q: Any) -> Array:
        return self._root(special.gammaincinv(0.5 * self.df, q))

    def rvs(self, size: Any = None, random_state: Any = None) -> Any:
        """Draws; ``random_state`` is a seed or a ``numpy.random.Generator``."""
        return self.scale * np.sqrt(self.df / np.random.default_rng(random_state).chisquare(self.df, size))

    def _ratio(self, x: Any) -> Array:
        """a/x² with x in units of scale; ∞ at and below 0."""
        x = np.maximum(np.asarray(x, dtype=float) / self.scale, 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            return 0.5 * self.df / x**2

    def _root(self, gamma: Any) -> Array:
        with np.errstate(divide="ignore"):
            return self.scale * np.sqrt(0.5 * self.df / np.asarray(gamma))


def inverse_nakagami(df: float, scale: float) -> InverseNakagamiLaw:
    """Law of ξ with 1/ξ ~ Nakagami(m = df/2, Ω = 1/scale²), so that w = ξ z is Student-t(df, 0, σ₀·scale)."""
    return InverseNakagamiLaw(df, scale)


def moments_by_quadrature(law: Any) -> Moments:
    """Moments of any continuous law that has ``logpdf``, ``ppf`` and ``support`` (a frozen ``scipy.stats`` distribution).

    Integrals over t = log|ξ|, the sides ξ > 0 and ξ < 0 apart. A moment is infinite where e^{kt} p(t) does not fall at an end of the line.
    """
    one, two, inverse_two, inverse_four = (_power_mean(law, power) for power in (1, 2, -2, -4))
    variance = two - one**2 if math.isfinite(two) else math.inf
    inverse_variance = inverse_four - inverse_two**2 if math.isfinite(inverse_two) else math.nan
    return Moments(one, two, variance, inverse_two, inverse_variance)


def _power_mean(law: Any, power: int) -> float:
    """E[ξᵏ]."""
    low, high = law.support()
    marks = np.log([max(float(x), 1e-300) for x in np.abs(law.ppf([0.1, 0.3, 0.5, 0.7, 0.9]))])
    ends = np.array([marks.min() - 200.0, marks.max() + 200.0])
    total = 0.0
    for sign in [side for side, end in ((1.0, high), (-1.0, -low)) if end > 0]:

        def log_integrand(t: Array, sign: float = sign) -> Array:
            return law.logpdf(sign * np.exp(t)) + (power + 1) * t

        with np.errstate(all="ignore"):
            at, beyond = log_integrand(ends), log_integrand(ends + np.array([-50.0, 50.0]))
            if np.any((beyond > -math.inf) & (beyond - at > -1e-4)):  # beyond e^{±200} a law is a power of ξ, or zero
                total += sign**power * math.inf
            else:
                total += sign**power * math.exp(float(log_integral(log_integrand, ends[:1], ends[1:], list(marks))[0]))
    return total


DROP, CORE = 42.0, 8.0  # an integrand is taken where it is within e^{−42} = 6e−19 of its peak, with finer panels within e^{−8}
COARSE = 256  # nodes of the first search of a peak, to which the marks are added
ORDER = 20  # Gauss-Legendre nodes a panel; a panel of the core is at most 2.5 e-folds, and a law of log ξ is smooth over about one


def log_integral(log_f: Callable[[Array], Array], low: Array, high: Array, marks: list[Any]) -> Array:
    """log ∫ exp(log_f(t)) dt for each row, between ``low`` and ``high`` (rows,); ``log_f`` maps nodes (rows, n) to (rows, n).

    Gauss-Legendre panels where the integrand is not negligible, found by :func:`find_peak` and bisection; so peaks of any width, jumps
    at the ends of a support, and tails of any exponent below −1000 are treated alike. ``marks``: where it may peak, (rows,) or scalars.
    """
    nodes, values, mode, top = find_peak(log_f, low, high, marks)
    a, d = _ends(log_f, nodes, values, mode, top - DROP)
    b, c = (np.clip(end, a, d) for end in _ends(log_f, nodes, values, mode, top - CORE))
    total = np.zeros(top.shape)
    for left, right, fold in ((a, b, 6.0), (b, c, 2.5), (c, d, 6.0)):
        fractions, weights = _panels(8 + int(min(np.max(right - left), 800.0) / fold))
        t = left[:, None] + (right - left)[:, None] * fractions
        total += (right - left) * (np.exp(np.minimum(log_f(t) - top[:, None], 1.0)) @ weights)
    return np.where(top > -math.inf, np.log(np.maximum(total, 1e-300)) + top, -math.inf)


@lru_cache(maxsize=512)
def _panels(count: int) -> tuple[Array, Array]:
    """Nodes and weights on [0, 1]."""
    x, weight = np.polynomial.legendre.leggauss(ORDER)
    return ((np.arange(count)[:, None] + 0.5 * (x + 1.0)) / count).ravel(), np.tile(0.5 * weight / count, count)


def _ends(log_f: Callable[[Array], Array], nodes: Array, values: Array, mode: Array, floor: Array) -> tuple[Array, Array]:
    """Where ``log_f`` crosses ``floor`` outermost, left and right: bisection between the outermost node above it and the next."""
    ends = []
    for flip in (1, -1):
        t, above = flip * nodes[:, ::flip], (values >= floor[:, None])[:, ::flip]
        first = np.where(above.any(axis=1), np.take_along_axis(t, above.argmax(axis=1)[:, None], axis=1)[:, 0], math.inf)
        inside = np.minimum(first, flip * mode)
        before = np.maximum((t < inside[:, None]).sum(axis=1) - 1, 0)
        outside = np.take_along_axis(t, before[:, None], axis=1)[:, 0]
        for _ in range(32):
            middle = 0.5 * (inside + outside)
            keep = log_f(flip * middle[:, None])[:, 0] >= floor
            inside, outside = np.where(keep, middle, inside), np.where(keep, outside, middle)
        ends.append(flip * outside)
    return ends[0], ends[1]


def find_peak(log_f: Callable[[Array], Array], low: Array, high: Array, marks: list[Any]) -> tuple[Array, Array, Array, Array]:
    """Coarse nodes (rows, n) and their values, and the mode and the top of ``log_f`` in each row: a search that zooms in."""
    even = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, COARSE)
    nodes = np.sort(np.column_stack([even, *(np.broadcast_to(mark, low.shape) for mark in marks)]), axis=1)
    values = log_f(nodes)
    t, v = nodes, values
    mode = top = low
    for _ in range(11):  # 0.6 e-folds / 8¹⁰ = 6e−10
        best = v.argmax(axis=1)[:, None]
        mode, top = (np.take_along_axis(array, best, axis=1)[:, 0] for array in (t, v))
        left = np.take_along_axis(t, np.maximum(best - 1, 0), axis=1)
        right = np.take_along_axis(t, np.minimum(best + 1, t.shape[1] - 1), axis=1)
        t = left + (right - left) * np.linspace(0.0, 1.0, 17)
        v = log_f(t)
    return nodes, values, mode, top
