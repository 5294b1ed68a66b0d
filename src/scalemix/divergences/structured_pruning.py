"""Structured Bayesian pruning: a noise θ with log θ ~ TruncN(μ, σ²; [a, b]) against log θ ~ U[a, b].

The remedy for the log-uniform prior's infinite divergence: both are truncated (Neklyudov, Molchanov, Ashukha and Vetrov, 2017). What it
finds depends on a.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from scalemix.arrays import arrays, clip
from scalemix.checks import check_number
from scalemix.special import mills_fraction

__all__ = ["truncated_log_uniform", "truncated_log_uniform_moments"]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)
FAR = 3.0  # standard deviations from the interval to μ beyond which the continued fraction of Mills' ratio is used


def truncated_log_uniform(loc: Any, scale: Any, *, low: float = -20.0, high: float = 0.0) -> Any:
    """KL(TruncN(μ, σ²; [a, b]) ‖ U[a, b]) = log((b − a)/σ) − ½ log 2πe − log Z − [α φ(α) − β φ(β)]/(2Z),

    α = (a − μ)/σ, β = (b − μ)/σ, Z = Φ(β) − Φ(α): Neklyudov et al. (2017), eq. 10. Two forms that do not cancel replace it where
    [a, b] lies in a tail of the normal law, and where it is short beside σ.

    Args:
        loc, scale: μ and σ of log θ before it is truncated, which broadcast.
        low, high: a and b.

    Returns: elementwise.

    Raises: ValueError unless low < high.
    """
    _check(low, high)
    xp, loc, scale = arrays(loc, scale)
    above = loc > 0.5 * (low + high)  # the divergence of a law mirrored about the middle is the same
    start, width = xp.where(above, loc - high, low - loc) / scale, (high - low) / scale
    center = start + 0.5 * width
    narrow = (width < 1.0) & (center * width < 4.0)
    far = (start > FAR) & ~narrow
    usual = ~(far | narrow)
    value = _near(xp, xp.where(usual, start, 0.0), xp.where(usual, width, 1.0))
    value = xp.where(far, _far(xp, xp.where(far, start, 2 * FAR), xp.where(far, width, 1.0)), value)
    return xp.where(narrow, _narrow(xp, xp.where(narrow, center, 0.0), xp.where(narrow, width, 0.5)), value)


def truncated_log_uniform_moments(loc: Any, scale: Any, *, low: float = -20.0, high: float = 0.0) -> tuple[Any, Any]:
    """(E[θ], E[θ]/√Var[θ]) of θ with log θ ~ TruncN(μ, σ²; [a, b]): what multiplies a unit at test time, and what it is dropped by (< 1).

    E[θᵏ] = e^{kμ + k²σ²/2} [Φ(β − kσ) − Φ(α − kσ)]/Z (Neklyudov et al., 2017, eq. 16). In NumPy: nothing is trained with it.

    Arguments, shapes and errors as in ``truncated_log_uniform``.
    """
    _check(low, high)
    loc, scale = np.asarray(loc, dtype=float), np.asarray(scale, dtype=float)

    def log_mass(shift: Any) -> Any:
        start, end = (low - loc) / scale - shift, (high - loc) / scale - shift
        start, end = np.where(start + end < 0.0, start, -end), np.where(start + end < 0.0, end, -start)  # in the left tail
        return special.log_ndtr(end) + np.log1p(-np.exp(special.log_ndtr(start) - special.log_ndtr(end)))

    first, second = (k * loc + 0.5 * (k * scale) ** 2 + log_mass(k * scale) - log_mass(0.0) for k in (1, 2))
    return np.exp(first), 1.0 / np.sqrt(np.expm1(second - 2.0 * first))


def _near(xp: Any, start: Any, width: Any) -> Any:
    """The formula as it is written."""
    end = start + width
    z = 0.5 * (xp.erfc(start * math.sqrt(0.5)) - xp.erfc(end * math.sqrt(0.5)))
    edges = (start * xp.exp(-0.5 * start**2) - end * xp.exp(-0.5 * clip(xp, end, 0.0, 40.0) ** 2)) / math.sqrt(2 * math.pi)
    return xp.log(width) - 0.5 * math.log(2 * math.pi * math.e) - xp.log(z) - 0.5 * edges / z


def _far(xp: Any, start: Any, width: Any) -> Any:
    """α ≥ 3: with h(z) = φ(z)/Φ(−z) = z + 1/f(z) and δ = Φ(−β)/Φ(−α) the terms α²/2 of log Z and of α φ(α)/2Z are taken out."""
    end = start + width
    at_start, at_end = 1.0 / mills_fraction(start), 1.0 / mills_fraction(end)
    rise = width * (start + end)  # β² − α²
    delta = xp.exp(-0.5 * rise) * (start + at_start) / (end + at_end)
    edges = (start * at_start - delta * (rise + end * at_end)) / (1.0 - delta)
    return xp.log(width * (start + at_start)) - 0.5 - xp.log1p(-delta) - 0.5 * edges


def _narrow(xp: Any, center: Any, width: Any) -> Any:
    """E_p[g] − log E[eᵍ] over y ~ U(−½, ½), p ∝ eᵍ, g = −cwy − ½w²y²: Gauss-Legendre, g being small and smooth."""
    mass, mean = 0.0, 0.0
    for node, weight in zip(0.5 * NODES, 0.5 * WEIGHTS, strict=True):
        g = -(center + 0.5 * width * float(node)) * width * float(node)
        each = float(weight) * xp.exp(g)
        mass, mean = mass + each, mean + each * g
    return mean / mass - xp.log(mass)


def _check(low: float, high: float) -> None:
    if not check_number("low", low) < check_number("high", high):
        raise ValueError(f"low={low}, high={high} is an empty interval: give low < high")
